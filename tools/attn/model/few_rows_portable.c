/* Products of few rows with the baseline's vectors. */
#define VECTOR_BYTES 16
#define FEW_ROWS_NAME few_rows_portable
#include "few_rows_body.h"
