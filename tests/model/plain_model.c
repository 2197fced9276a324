/* Gemma 3 and BERT as their papers say, in double. */
#include "plain_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *doubles(int64_t count)
{
    return calloc(count > 0 ? (size_t)count : 1, sizeof(double));
}

/* out [n, outputs] = x [n, inputs] W^T + bias */
static void multiply_by(const double *x, int n, const float *weight, const float *bias, int inputs,
                        int outputs, double *out)
{
    for (int r = 0; r < n; r++)
        for (int j = 0; j < outputs; j++) {
            double sum = bias != NULL ? (double)bias[j] : 0;
            for (int i = 0; i < inputs; i++)
                sum += x[r * inputs + i] * (double)weight[j * inputs + i];
            out[r * outputs + j] = sum;
        }
}

static void rms_norm(const double *x, const float *weight, int size, double *out)
{
    double square = 0;
    for (int i = 0; i < size; i++)
        square += x[i] * x[i];
    double length = sqrt(square / size + 1e-6);
    for (int i = 0; i < size; i++)
        out[i] = x[i] / length * (double)weight[i];
}

static void layer_norm(double *x, const float *weight, const float *bias, int size)
{
    double mean = 0, square = 0;
    for (int i = 0; i < size; i++)
        mean += x[i] / size;
    for (int i = 0; i < size; i++)
        square += (x[i] - mean) * (x[i] - mean) / size;
    for (int i = 0; i < size; i++)
        x[i] = (x[i] - mean) / sqrt(square + 1e-12) * (double)weight[i] + (double)bias[i];
}

/* Pairs (i, i + size/2), angle position * base^(-2i/size). */
static void rotate(double *x, int size, int position, double base)
{
    for (int i = 0; i < size / 2; i++) {
        double angle = position * pow(base, -2.0 * i / size);
        double a = x[i], b = x[i + size / 2];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + size / 2] = a * sin(angle) + b * cos(angle);
    }
}

struct heads {
    int n, heads, kv_heads, key_size, value_size;
    int window; /* 0 = none */
    bool causal;
};

static void attend(const struct heads *s, const double *q, const double *k, const double *v,
                   double *o)
{
    double *weight = doubles(s->n);
    for (int h = 0; h < s->heads; h++)
        for (int i = 0; i < s->n; i++) {
            int g = h / (s->heads / s->kv_heads);
            int first = s->window > 0 && i - s->window + 1 > 0 ? i - s->window + 1 : 0;
            int end = s->causal ? i + 1 : s->n;
            double max = -INFINITY, sum = 0;
            for (int j = first; j < end; j++) {
                double score = 0;
                for (int d = 0; d < s->key_size; d++)
                    score += q[(i * s->heads + h) * s->key_size + d] *
                             k[(j * s->kv_heads + g) * s->key_size + d];
                weight[j] = score / sqrt(s->key_size);
                max = weight[j] > max ? weight[j] : max;
            }
            for (int j = first; j < end; j++)
                sum += weight[j] = exp(weight[j] - max);
            double *out = o + (i * s->heads + h) * s->value_size;
            memset(out, 0, (size_t)s->value_size * sizeof *out);
            for (int j = first; j < end; j++)
                for (int d = 0; d < s->value_size; d++)
                    out[d] += weight[j] / sum * v[(j * s->kv_heads + g) * s->value_size + d];
        }
    free(weight);
}

/* Mean over rows of |(o_h - bias) Wo_h|, from the definition. */
static void contributions(const struct heads *s, const double *o, const float *output,
                          const float *value_bias, double *out)
{
    int inputs = s->heads * s->value_size;
    for (int h = 0; h < s->heads; h++) {
        const float *bias =
            value_bias != NULL ? value_bias + h / (s->heads / s->kv_heads) * s->value_size : NULL;
        out[h] = 0;
        for (int i = 0; i < s->n; i++) {
            double square = 0;
            for (int j = 0; j < TINY_WIDTH; j++) {
                double sum = 0;
                for (int d = 0; d < s->value_size; d++)
                    sum += (o[(i * s->heads + h) * s->value_size + d] -
                            (bias != NULL ? (double)bias[d] : 0)) *
                           (double)output[j * inputs + h * s->value_size + d];
                square += sum * sum;
            }
            out[h] += sqrt(square) / s->n;
        }
    }
}

static struct plain_result *new_result(int n, int layers)
{
    struct plain_result *r = calloc(1, sizeof *r);
    r->hidden = doubles((int64_t)n * TINY_WIDTH);
    r->nll = doubles(n);
    r->logits = doubles((int64_t)n * TINY_VOCABULARY);
    r->embedding = doubles(TINY_WIDTH);
    r->contribution = doubles((int64_t)layers * TINY_HEADS);
    return r;
}

void plain_free(struct plain_result *r)
{
    free(r->hidden);
    free(r->nll);
    free(r->logits);
    free(r->embedding);
    free(r->contribution);
    free(r);
}

/* x += rms(y), row by row. */
static void add_normed(double *x, double *y, int n, const float *weight)
{
    for (int r = 0; r < n; r++) {
        rms_norm(y + r * TINY_WIDTH, weight, TINY_WIDTH, y + r * TINY_WIDTH);
        for (int i = 0; i < TINY_WIDTH; i++)
            x[r * TINY_WIDTH + i] += y[r * TINY_WIDTH + i];
    }
}

static void norm_rows(const double *x, int n, const float *weight, double *out)
{
    for (int r = 0; r < n; r++)
        rms_norm(x + r * TINY_WIDTH, weight, TINY_WIDTH, out + r * TINY_WIDTH);
}

static void gemma_attention(const struct tiny_model *m, int l, double *x, int n,
                            double *contribution)
{
    bool local = l % 6 != 5;
    const struct heads s = {
        n,   TINY_HEADS, TINY_KV_HEADS, TINY_GEMMA_KEY, TINY_GEMMA_VALUE, local ? TINY_WINDOW : 0,
        true};
    int q_width = s.heads * s.key_size, k_width = s.kv_heads * s.key_size;
    int v_width = s.kv_heads * s.value_size, o_width = s.heads * s.value_size;
    double *a = doubles(n * TINY_WIDTH), *q = doubles(n * q_width), *k = doubles(n * k_width);
    double *v = doubles(n * v_width), *o = doubles(n * o_width);
    norm_rows(x, n, tiny_values(m, "blk.%d.attn_norm.weight", l), a);
    multiply_by(a, n, tiny_values(m, "blk.%d.attn_q.weight", l), NULL, TINY_WIDTH, q_width, q);
    multiply_by(a, n, tiny_values(m, "blk.%d.attn_k.weight", l), NULL, TINY_WIDTH, k_width, k);
    multiply_by(a, n, tiny_values(m, "blk.%d.attn_v.weight", l), NULL, TINY_WIDTH, v_width, v);
    const float *q_norm = tiny_values(m, "blk.%d.attn_q_norm.weight", l);
    const float *k_norm = tiny_values(m, "blk.%d.attn_k_norm.weight", l);
    for (int r = 0; r < n; r++) {
        for (int h = 0; h < s.heads; h++) {
            double *head = q + r * q_width + h * s.key_size;
            rms_norm(head, q_norm, s.key_size, head);
            rotate(head, s.key_size, r, local ? 1e4 : 1e6);
        }
        for (int h = 0; h < s.kv_heads; h++) {
            double *head = k + r * k_width + h * s.key_size;
            rms_norm(head, k_norm, s.key_size, head);
            rotate(head, s.key_size, r, local ? 1e4 : 1e6);
        }
    }
    attend(&s, q, k, v, o);
    const float *output = tiny_values(m, "blk.%d.attn_output.weight", l);
    contributions(&s, o, output, NULL, contribution);
    multiply_by(o, n, output, NULL, o_width, TINY_WIDTH, a);
    add_normed(x, a, n, tiny_values(m, "blk.%d.post_attention_norm.weight", l));
    free(a), free(q), free(k), free(v), free(o);
}

static void gemma_feed_forward(const struct tiny_model *m, int l, double *x, int n)
{
    double *a = doubles(n * TINY_WIDTH), *gate = doubles(n * TINY_FEED);
    double *up = doubles(n * TINY_FEED);
    norm_rows(x, n, tiny_values(m, "blk.%d.ffn_norm.weight", l), a);
    multiply_by(a, n, tiny_values(m, "blk.%d.ffn_gate.weight", l), NULL, TINY_WIDTH, TINY_FEED,
                gate);
    multiply_by(a, n, tiny_values(m, "blk.%d.ffn_up.weight", l), NULL, TINY_WIDTH, TINY_FEED, up);
    for (int i = 0; i < n * TINY_FEED; i++) {
        double g = gate[i];
        gate[i] = g / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (g + 0.044715 * g * g * g))) * up[i];
    }
    multiply_by(gate, n, tiny_values(m, "blk.%d.ffn_down.weight", l), NULL, TINY_FEED, TINY_WIDTH,
                a);
    add_normed(x, a, n, tiny_values(m, "blk.%d.post_ffw_norm.weight", l));
    free(a), free(gate), free(up);
}

struct plain_result *plain_gemma3(const struct tiny_model *m, const int32_t *tokens, int n)
{
    struct plain_result *result = new_result(n, TINY_GEMMA_LAYERS);
    const float *embedding = tiny_values(m, "token_embd.weight");
    double *x = doubles(n * TINY_WIDTH);
    for (int r = 0; r < n; r++)
        for (int i = 0; i < TINY_WIDTH; i++)
            x[r * TINY_WIDTH + i] =
                sqrt(TINY_WIDTH) * (double)embedding[tokens[r] * TINY_WIDTH + i];
    for (int l = 0; l < TINY_GEMMA_LAYERS; l++) {
        gemma_attention(m, l, x, n, result->contribution + l * TINY_HEADS);
        gemma_feed_forward(m, l, x, n);
    }
    norm_rows(x, n, tiny_values(m, "output_norm.weight"), result->hidden);
    multiply_by(result->hidden, n, embedding, NULL, TINY_WIDTH, TINY_VOCABULARY, result->logits);
    for (int r = 0; r + 1 < n; r++) {
        const double *logits = result->logits + r * TINY_VOCABULARY;
        double sum = 0;
        for (int i = 0; i < TINY_VOCABULARY; i++)
            sum += exp(logits[i] - logits[tokens[r + 1]]);
        result->nll[r] = log(sum);
    }
    free(x);
    return result;
}

/* ---- BERT ---- */

static const float *bert_part(const struct tiny_model *m, bool safetensors, int l, const char *gguf,
                              const char *json, const char *ending)
{
    return safetensors ? tiny_values(m, "encoder.layer.%d.%s.%s", l, json, ending)
                       : tiny_values(m, "blk.%d.%s.%s", l, gguf, ending);
}

static void bert_linear(const struct tiny_model *m, bool st, int l, const char *gguf,
                        const char *json, const double *x, int n, int inputs, int outputs,
                        double *out)
{
    multiply_by(x, n, bert_part(m, st, l, gguf, json, "weight"),
                bert_part(m, st, l, gguf, json, "bias"), inputs, outputs, out);
}

/* x = norm(x + y) */
static void bert_sum(const struct tiny_model *m, bool st, int l, const char *gguf, const char *json,
                     double *x, const double *y, int n)
{
    for (int r = 0; r < n; r++) {
        for (int i = 0; i < TINY_WIDTH; i++)
            x[r * TINY_WIDTH + i] += y[r * TINY_WIDTH + i];
        layer_norm(x + r * TINY_WIDTH, bert_part(m, st, l, gguf, json, "weight"),
                   bert_part(m, st, l, gguf, json, "bias"), TINY_WIDTH);
    }
}

static void bert_layer(const struct tiny_model *m, bool st, int l, double *x, int n,
                       double *contribution)
{
    const int w = TINY_WIDTH;
    const struct heads s = {n, TINY_HEADS, TINY_HEADS, w / TINY_HEADS, w / TINY_HEADS, 0, false};
    double *q = doubles(n * w), *k = doubles(n * w), *v = doubles(n * w), *o = doubles(n * w);
    double *y = doubles(n * w), *inner = doubles(n * TINY_FEED);
    bert_linear(m, st, l, "attn_q", "attention.self.query", x, n, w, w, q);
    bert_linear(m, st, l, "attn_k", "attention.self.key", x, n, w, w, k);
    bert_linear(m, st, l, "attn_v", "attention.self.value", x, n, w, w, v);
    attend(&s, q, k, v, o);
    contributions(&s, o, bert_part(m, st, l, "attn_output", "attention.output.dense", "weight"),
                  bert_part(m, st, l, "attn_v", "attention.self.value", "bias"), contribution);
    bert_linear(m, st, l, "attn_output", "attention.output.dense", o, n, w, w, y);
    bert_sum(m, st, l, "attn_output_norm", "attention.output.LayerNorm", x, y, n);
    bert_linear(m, st, l, "ffn_up", "intermediate.dense", x, n, w, TINY_FEED, inner);
    for (int i = 0; i < n * TINY_FEED; i++)
        inner[i] *= 0.5 * (1 + erf(inner[i] / sqrt(2)));
    bert_linear(m, st, l, "ffn_down", "output.dense", inner, n, TINY_FEED, w, y);
    bert_sum(m, st, l, "layer_output_norm", "output.LayerNorm", x, y, n);
    free(q), free(k), free(v), free(o), free(y), free(inner);
}

struct plain_result *plain_bert(const struct tiny_model *m, bool st, const int32_t *tokens, int n)
{
    struct plain_result *result = new_result(n, TINY_BERT_LAYERS);
    const float *word =
        tiny_values(m, "%s.weight", st ? "embeddings.word_embeddings" : "token_embd");
    const float *position =
        tiny_values(m, "%s.weight", st ? "embeddings.position_embeddings" : "position_embd");
    const float *type =
        tiny_values(m, "%s.weight", st ? "embeddings.token_type_embeddings" : "token_types");
    const char *norm = st ? "embeddings.LayerNorm" : "token_embd_norm";
    double *x = result->hidden;
    for (int r = 0; r < n; r++) {
        for (int i = 0; i < TINY_WIDTH; i++)
            x[r * TINY_WIDTH + i] = (double)word[tokens[r] * TINY_WIDTH + i] + (double)type[i] +
                                    (double)position[r * TINY_WIDTH + i];
        layer_norm(x + r * TINY_WIDTH, tiny_values(m, "%s.weight", norm),
                   tiny_values(m, "%s.bias", norm), TINY_WIDTH);
    }
    for (int l = 0; l < TINY_BERT_LAYERS; l++)
        bert_layer(m, st, l, x, n, result->contribution + l * TINY_HEADS);
    double square = 0;
    for (int i = 0; i < TINY_WIDTH; i++) {
        for (int r = 0; r < n; r++)
            result->embedding[i] += x[r * TINY_WIDTH + i] / n;
        square += result->embedding[i] * result->embedding[i];
    }
    for (int i = 0; i < TINY_WIDTH; i++)
        result->embedding[i] /= sqrt(square);
    return result;
}
