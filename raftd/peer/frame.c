/* SPDX-License-Identifier: Apache-2.0 */
/* Peer frames to bytes and back; the layout is drawn in frame.h. */
#include "raftd/peer/frame.h"

#include <stdlib.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/mem.h"

#define GREETING_BYTES 45 /* and URLs */
#define QUESTION_BYTES 12
#define CLUSTER_BYTES 20 /* and two states */
#define GREETING_MAGIC 0x50544652u /* "RFTP" */
#define MESSAGE_HEADER_BYTES 80
#define ENTRY_HEADER_BYTES 16
#define SNAPSHOT_HEADER_BYTES 72

enum { FLAG_REJECT = 1, FLAG_TRANSFER = 2 };

/* Room for a payload of len bytes; frame_close fills the header once it is written. */
static uint8_t *frame_open(struct buf *out, size_t len)
{
    return buf_reserve(out, FRAME_HEADER_BYTES + len) + FRAME_HEADER_BYTES;
}

static void frame_close(struct buf *out, size_t len)
{
    uint8_t *p = out->data + out->end;

    put_le32(put_le32(p, (uint32_t)len), crc32c(0, p + FRAME_HEADER_BYTES, len));
    buf_commit(out, FRAME_HEADER_BYTES + len);
}

void frame_append_greeting(struct buf *out, const struct greeting *g)
{
    size_t len = GREETING_BYTES;
    uint8_t *p;

    for (unsigned i = 0; i < g->url_count; i++)
        len += 2 + strlen(g->urls[i]);
    p = frame_open(out, len);
    p = put_le32(p, FRAME_GREETING);
    p = put_le32(p, GREETING_MAGIC);
    p = put_le32(p, g->version);
    p = put_le64(p, g->cluster_id);
    p = put_le64(p, g->from);
    p = put_le64(p, g->to);
    p = put_le64(p, g->incarnation);
    p = put_u8(p, (uint8_t)g->url_count);
    for (unsigned i = 0; i < g->url_count; i++) {
        size_t url_len = strlen(g->urls[i]);
        p = put_u8(put_u8(p, (uint8_t)url_len), (uint8_t)(url_len >> 8));
        p = put_bytes(p, g->urls[i], url_len);
    }
    frame_close(out, len);
}

void frame_append_question(struct buf *out)
{
    uint8_t *p = frame_open(out, QUESTION_BYTES);

    put_le32(put_le32(put_le32(p, FRAME_QUESTION), GREETING_MAGIC), PEER_PROTOCOL_VERSION);
    frame_close(out, QUESTION_BYTES);
}

void frame_append_cluster(struct buf *out, const struct cluster_answer *answer)
{
    size_t len = CLUSTER_BYTES + answer->founders.len + answer->members.len;
    uint8_t *p = frame_open(out, len);

    p = put_le32(put_le32(p, FRAME_CLUSTER), PEER_PROTOCOL_VERSION);
    p = put_le32(put_le64(p, answer->cluster_id), (uint32_t)answer->founders.len);
    p = put_bytes(p, answer->founders.data, answer->founders.len);
    put_bytes(p, answer->members.data, answer->members.len);
    frame_close(out, len);
}

void frame_append_dismissal(struct buf *out, enum dismissal_reason reason, const char *why)
{
    size_t len = strlen(why);
    uint8_t *p = frame_open(out, 2 + len);

    put_bytes(put_u8(put_u8(p, FRAME_DISMISSAL), (uint8_t)reason), why, len);
    frame_close(out, 2 + len);
}

void frame_append_refusal(struct buf *out, const char *why)
{
    size_t len = strlen(why);
    uint8_t *p = frame_open(out, 1 + len);

    put_bytes(put_u8(p, FRAME_REFUSAL), why, len);
    frame_close(out, 1 + len);
}

void frame_append_message(struct buf *out, const struct raft_message *m)
{
    size_t len = MESSAGE_HEADER_BYTES;
    uint8_t *p;

    for (size_t i = 0; i < m->entry_count; i++)
        len += ENTRY_HEADER_BYTES + m->entries[i]->len;
    p = frame_open(out, len);
    p = put_u8(p, FRAME_MESSAGE);
    p = put_u8(p, (uint8_t)m->type);
    p = put_u8(p, (uint8_t)((m->reject ? FLAG_REJECT : 0) | (m->transfer ? FLAG_TRANSFER : 0)));
    p = put_u8(p, 0);
    p = put_le64(put_le64(p, m->from), m->to);
    p = put_le64(put_le64(p, m->term), m->log_term);
    p = put_le64(put_le64(p, m->index), m->commit);
    p = put_le64(put_le64(p, m->hint_index), m->hint_term);
    p = put_le64(p, m->context);
    p = put_le32(p, (uint32_t)m->entry_count);
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct raft_entry *e = m->entries[i];
        p = put_le64(p, e->term);
        p = put_le32(p, e->type);
        p = put_le32(p, e->len);
        p = put_bytes(p, e->data, e->len);
    }
    frame_close(out, len);
}

void frame_append_snapshot(struct buf *out, const struct snapshot_message *m)
{
    size_t len = SNAPSHOT_HEADER_BYTES + m->data.len;
    uint8_t *p = frame_open(out, len);

    p = put_u8(put_u8(p, FRAME_SNAPSHOT), (uint8_t)m->type);
    p = put_u8(put_u8(p, 0), 0);
    p = put_le32(p, m->crc);
    p = put_le64(put_le64(p, m->from), m->to);
    p = put_le64(put_le64(p, m->term), m->transfer);
    p = put_le64(put_le64(p, m->sequence), m->index);
    p = put_le64(put_le64(p, m->log_term), (uint64_t)m->revision);
    put_bytes(p, m->data.data, m->data.len);
    frame_close(out, len);
}

enum status frame_next(struct slice bytes, size_t payload_bytes_max, struct slice *ret_payload, size_t *ret_frame_len)
{
    uint32_t len;

    if (bytes.len < FRAME_HEADER_BYTES)
        return ST_NOT_FOUND;
    len = get_le32(bytes.data);
    if (len > payload_bytes_max)
        return ST_CORRUPT;
    if (bytes.len - FRAME_HEADER_BYTES < len)
        return ST_NOT_FOUND;
    if (crc32c(0, bytes.data + FRAME_HEADER_BYTES, len) != get_le32(bytes.data + 4))
        return ST_CORRUPT;
    *ret_payload = slice_of(bytes.data + FRAME_HEADER_BYTES, len);
    *ret_frame_len = FRAME_HEADER_BYTES + len;
    return ST_OK;
}

int frame_kind(struct slice payload)
{
    return payload.len ? payload.data[0] : 0;
}

static bool decode_url(struct reader *r, char *ret_url)
{
    unsigned low = read_u8(r);
    size_t len = low | (size_t)read_u8(r) << 8;
    const uint8_t *text = read_bytes(r, len);

    if (r->bad || !len || len > MEMBER_URL_BYTES_MAX || memchr(text, 0, len))
        return false;
    memcpy(ret_url, text, len);
    ret_url[len] = 0;
    return true;
}

enum status frame_decode_greeting(struct slice payload, struct greeting *ret_greeting)
{
    struct reader r = reader_of(payload);
    struct greeting g = {0};

    if (read_le32(&r) != FRAME_GREETING || read_le32(&r) != GREETING_MAGIC)
        return ST_CORRUPT;
    g.version = read_le32(&r);
    if (!r.bad && g.version != PEER_PROTOCOL_VERSION) {
        *ret_greeting = g;
        return ST_OK;
    }
    g.cluster_id = read_le64(&r);
    g.from = read_le64(&r);
    g.to = read_le64(&r);
    g.incarnation = read_le64(&r);
    g.url_count = read_u8(&r);
    if (r.bad || !g.from || !g.incarnation || g.url_count > MEMBER_URLS_MAX)
        return ST_CORRUPT;
    for (unsigned i = 0; i < g.url_count; i++)
        if (!decode_url(&r, g.urls[i]))
            return ST_CORRUPT;
    if (reader_left(&r))
        return ST_CORRUPT;
    *ret_greeting = g;
    return ST_OK;
}

bool frame_is_question(struct slice payload)
{
    struct reader r = reader_of(payload);

    return payload.len == QUESTION_BYTES && read_le32(&r) == FRAME_QUESTION && read_le32(&r) == GREETING_MAGIC &&
           read_le32(&r) == PEER_PROTOCOL_VERSION;
}

enum status frame_decode_cluster(struct slice payload, struct cluster_answer *ret_answer)
{
    struct reader r = reader_of(payload);
    struct cluster_answer answer;
    uint32_t len;

    if (read_le32(&r) != FRAME_CLUSTER || read_le32(&r) != PEER_PROTOCOL_VERSION)
        return ST_CORRUPT;
    answer.cluster_id = read_le64(&r);
    len = read_le32(&r);
    if (r.bad || len > reader_left(&r))
        return ST_CORRUPT;
    answer.founders = read_slice(&r, len);
    answer.members = read_slice(&r, reader_left(&r));
    *ret_answer = answer;
    return ST_OK;
}

enum status frame_decode_dismissal(struct slice payload, enum dismissal_reason *ret_reason, struct slice *ret_why)
{
    if (payload.len < 2 || payload.data[0] != FRAME_DISMISSAL || payload.data[1] < DISMISSAL_REMOVED ||
        payload.data[1] > DISMISSAL_INCARNATION)
        return ST_CORRUPT;
    *ret_reason = (enum dismissal_reason)payload.data[1];
    *ret_why = slice_of(payload.data + 2, payload.len - 2);
    return ST_OK;
}

struct slice frame_refusal_text(struct slice payload)
{
    return slice_of(payload.data + 1, payload.len - 1);
}

static struct raft_entry *decode_entry(struct reader *r, raft_index index)
{
    raft_term term = read_le64(r);
    uint32_t type = read_le32(r), len = read_le32(r);
    const uint8_t *data = read_bytes(r, len);
    struct raft_entry *e;

    if (r->bad || type > RAFT_ENTRY_CONF)
        return NULL;
    e = raft_entry_new((enum raft_entry_type)type, len);
    e->term = term;
    e->index = index;
    put_bytes(e->data, data, len);
    return e;
}

enum status frame_decode_message(struct slice payload, struct raft_message *ret_message)
{
    struct raft_message m = {0};
    struct reader r = reader_of(payload);
    uint32_t count;
    uint8_t flags;

    if (read_u8(&r) != FRAME_MESSAGE)
        return ST_CORRUPT;
    m.type = (enum raft_message_type)read_u8(&r);
    flags = read_u8(&r);
    read_u8(&r);
    m.reject = flags & FLAG_REJECT;
    m.transfer = flags & FLAG_TRANSFER;
    m.from = read_le64(&r);
    m.to = read_le64(&r);
    m.term = read_le64(&r);
    m.log_term = read_le64(&r);
    m.index = read_le64(&r);
    m.commit = read_le64(&r);
    m.hint_index = read_le64(&r);
    m.hint_term = read_le64(&r);
    m.context = read_le64(&r);
    count = read_le32(&r);
    /* Before anything is allocated: every entry takes its header at least. */
    if (r.bad || count > reader_left(&r) / ENTRY_HEADER_BYTES)
        return ST_CORRUPT;
    if (count)
        m.entries = mem_alloc(count * sizeof *m.entries);
    for (; m.entry_count < count; m.entry_count++) {
        raft_index index = m.type == RAFT_MSG_PROPOSE ? 0 : m.index + 1 + m.entry_count;
        m.entries[m.entry_count] = decode_entry(&r, index);
        if (!m.entries[m.entry_count]) {
            frame_free_message(&m);
            return ST_CORRUPT;
        }
    }
    if (reader_left(&r)) {
        frame_free_message(&m);
        return ST_CORRUPT;
    }
    *ret_message = m;
    return ST_OK;
}

void frame_free_message(struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count; i++)
        raft_entry_unref(m->entries[i]);
    free(m->entries);
    m->entries = NULL;
    m->entry_count = 0;
}

enum status frame_decode_snapshot(struct slice payload, struct snapshot_message *ret_message)
{
    struct snapshot_message m = {0};
    struct reader r = reader_of(payload);

    if (read_u8(&r) != FRAME_SNAPSHOT)
        return ST_CORRUPT;
    m.type = (enum snapshot_message_type)read_u8(&r);
    read_bytes(&r, 2);
    m.crc = read_le32(&r);
    m.from = read_le64(&r);
    m.to = read_le64(&r);
    m.term = read_le64(&r);
    m.transfer = read_le64(&r);
    m.sequence = read_le64(&r);
    m.index = read_le64(&r);
    m.log_term = read_le64(&r);
    m.revision = (int64_t)read_le64(&r);
    if (r.bad || m.type < SNAPSHOT_CHUNK || m.type > SNAPSHOT_OFFER || !m.transfer)
        return ST_CORRUPT;
    m.data = read_slice(&r, reader_left(&r));
    if (m.type == SNAPSHOT_OFFER ? !snapshot_ids_make_sense(m.data) : m.data.len && m.type != SNAPSHOT_CHUNK && m.type != SNAPSHOT_END)
        return ST_CORRUPT;
    *ret_message = m;
    return ST_OK;
}
