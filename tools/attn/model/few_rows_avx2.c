/* Products of few rows with AVX2, FMA and F16C. */
#define VECTOR_BYTES 32
#define FEW_ROWS_NAME few_rows_avx2
#include "few_rows_body.h"
