/* The description of this machine, made once. */
#include <pthread.h>

#include "cpu/detect.h"

static struct attn_cpu_info info;

static void detect(void)
{
    attn_cpu_read_features(&info.features);
    attn_cpu_read_caches(&info.caches);
    attn_cpu_make_credible(&info.caches);
    attn_cpu_read_name(info.name, sizeof info.name);
    info.microarchitecture = attn_cpu_read_microarchitecture();
}

const struct attn_cpu_info *attn_cpu_info(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect);
    return &info;
}
