/* The candidates wait in a heap and the symbols form a linked list, so n symbols take O(n log n). A
 * candidate is not removed when one of its symbols changes; it is recognised as stale when it comes
 * up, because the lengths no longer add up. */
#include "merging.h"

#include "array.h"

static bool comes_first(const struct merging_candidate *a, const struct merging_candidate *b)
{
    return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static bool heap_push(struct merging *m, struct merging_candidate c)
{
    if (!array_reserve(&m->heap, &m->heap_capacity, m->heap_count + 1, sizeof *m->heap))
        return false;
    size_t i = m->heap_count++;
    for (; i > 0 && comes_first(&c, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = c;
    return true;
}

static struct merging_candidate heap_pop(struct merging *m)
{
    struct merging_candidate top = m->heap[0];
    struct merging_candidate last = m->heap[--m->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < m->heap_count; i = child) {
        if (child + 1 < m->heap_count && comes_first(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!comes_first(&m->heap[child], &last))
            break;
        m->heap[i] = m->heap[child];
    }
    m->heap[i] = last;
    return top;
}

/* If the two neighbours join, they become a candidate. */
static bool consider(struct merging *m, uint32_t left, uint32_t right)
{
    if (left == MERGING_NOBODY || right == MERGING_NOBODY)
        return true;
    const struct merging_symbol *l = &m->symbols[left], *r = &m->symbols[right];
    float score;
    int32_t id = m->join(m, l, r, &score);
    if (id < 0)
        return true;
    return heap_push(m, (struct merging_candidate){score, left, right, l->length + r->length, id});
}

bool merging_add(struct merging *m, uint32_t begin, uint32_t length, uint32_t source, int32_t id)
{
    if (!array_reserve(&m->symbols, &m->symbol_capacity, m->symbol_count + 1, sizeof *m->symbols))
        return false;
    uint32_t i = (uint32_t)m->symbol_count++;
    m->symbols[i] = (struct merging_symbol){.begin = begin,
                                            .length = length,
                                            .previous = i == 0 ? MERGING_NOBODY : i - 1,
                                            .next = i + 1,
                                            .source = source,
                                            .id = id};
    return true;
}

bool merging_run(struct merging *m)
{
    m->heap_count = 0;
    if (m->symbol_count > 0)
        m->symbols[m->symbol_count - 1].next = MERGING_NOBODY;
    for (uint32_t i = 0; i + 1 < m->symbol_count; i++)
        if (!consider(m, i, i + 1))
            return false;
    while (m->heap_count > 0) {
        struct merging_candidate c = heap_pop(m);
        struct merging_symbol *left = &m->symbols[c.left];
        struct merging_symbol *right = &m->symbols[c.right];
        if (left->length == 0 || right->length == 0 || left->length + right->length != c.length)
            continue; /* stale */
        left->length = c.length;
        left->id = c.id;
        left->next = right->next;
        right->length = 0;
        if (left->next != MERGING_NOBODY)
            m->symbols[left->next].previous = c.left;
        if (!consider(m, left->previous, c.left) || !consider(m, c.left, left->next))
            return false;
    }
    return true;
}

void merging_free(struct merging *m)
{
    free(m->symbols);
    free(m->heap);
}
