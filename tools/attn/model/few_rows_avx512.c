/* Products of few rows with AVX-512. */
#define VECTOR_BYTES 64
#define FEW_ROWS_NAME few_rows_avx512
#include "few_rows_body.h"
