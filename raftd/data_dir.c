/* SPDX-License-Identifier: Apache-2.0 */
/* Where a member lives, and that it is alone there. */
#include "raftd/data_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/rng.h"
#include "raftd/small_file.h"

#define IDENTITY_MAGIC "RFTIDENT"
#define IDENTITY_FORMAT 2
#define IDENTITY_HEADER_BYTES 40
#define IDENTITY_OLD_FORMAT 1 /* without an incarnation */
#define IDENTITY_OLD_HEADER_BYTES 32
#define IDENTITY_BYTES_MAX (64 * 1024)

static enum status dir_error(struct error *ret_error, enum status st, const char *path, const char *what)
{
    return error_set(ret_error, st, "%s: %s: %s", path, what, strerror(errno));
}

/* Ours alone, or not used at all (somebody else could swap files under a process that writes secrets). */
static enum status open_private(const char *path, int *ret_fd, struct error *ret_error)
{
    struct stat st;
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return dir_error(ret_error, ST_IO, path, "cannot be made");
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return dir_error(ret_error, ST_IO, path, "cannot be opened as a directory");
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 077) {
        close(fd);
        return error_set(ret_error, ST_BAD_ARGUMENT,
                         "%s: must belong to the user of this process and be closed to all others (chmod 700)", path);
    }
    *ret_fd = fd;
    return ST_OK;
}

static enum status take_lock(struct data_dir *d, int dir_fd, const char *path, struct error *ret_error)
{
    d->lock_fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return dir_error(ret_error, ST_IO, path, "lock cannot be opened");
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return error_set(ret_error, ST_BUSY, "%s: in use by another process", path);
        return dir_error(ret_error, ST_IO, path, "cannot be locked");
    }
    return ST_OK;
}

/* ST_NOT_FOUND: nothing stands there whose name begins so. */
static enum status find_entry(const char *path, const char *prefix, struct error *ret_error)
{
    DIR *dir = opendir(path);
    struct dirent *e;
    bool found = false;
    enum status st = ST_NOT_FOUND;

    if (!dir && errno == ENOENT)
        return ST_NOT_FOUND;
    while (dir && !found && (e = file_next(dir)))
        found = e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (found)
        st = ST_OK;
    else if (!dir || errno)
        st = dir_error(ret_error, ST_IO, path, "cannot be listed");
    if (dir)
        closedir(dir);
    return st;
}

/* Is a file there that says something by that? */
static enum status find_mark(const struct data_dir *d, const char *name, bool *ret_there, struct error *ret_error)
{
    *ret_there = faccessat(d->member_fd, name, F_OK, 0) == 0;
    return *ret_there || errno == ENOENT ? ST_OK : dir_error(ret_error, ST_IO, name, "cannot be looked for");
}

static enum status identity_write(int dir_fd, const struct data_dir *d, struct error *ret_error)
{
    struct buf b = {0}, state = {0};
    enum status st;
    uint8_t *p;

    members_encode(&d->initial, &state);
    p = buf_reserve(&b, IDENTITY_HEADER_BYTES + buf_len(&state));
    put_bytes(p, IDENTITY_MAGIC, 8);
    put_le64(put_le64(put_le64(p + 16, d->cluster_id), d->member_id), d->incarnation);
    put_bytes(p + IDENTITY_HEADER_BYTES, state.data, buf_len(&state));
    put_le32(put_le32(p + 8, IDENTITY_FORMAT), crc32c(0, p + 16, IDENTITY_HEADER_BYTES - 16 + buf_len(&state)));
    buf_commit(&b, IDENTITY_HEADER_BYTES + buf_len(&state));

    st = small_file_replace(dir_fd, "identity", b.data, buf_len(&b), ret_error);
    buf_fini(&b);
    buf_fini(&state);
    return st;
}

/* The incarnation stays 0 if an older format has none. */
static enum status identity_parse(struct data_dir *d, const uint8_t *data, size_t len, struct error *ret_error)
{
    size_t header = IDENTITY_HEADER_BYTES;
    uint32_t format;

    if (len < IDENTITY_OLD_HEADER_BYTES || memcmp(data, IDENTITY_MAGIC, 8) != 0 ||
        get_le32(data + 12) != crc32c(0, data + 16, len - 16))
        return error_set(ret_error, ST_CORRUPT, "member/identity: damaged (%zu bytes)", len);
    format = get_le32(data + 8);
    if (format == IDENTITY_OLD_FORMAT)
        header = IDENTITY_OLD_HEADER_BYTES;
    else if (format != IDENTITY_FORMAT || len < header)
        return error_set(ret_error, ST_CORRUPT, "member/identity: format %u is not known to this version", format);
    d->cluster_id = get_le64(data + 16);
    d->member_id = get_le64(data + 24);
    if (format == IDENTITY_FORMAT)
        d->incarnation = get_le64(data + 32);
    if (members_decode(&d->initial, slice_of(data + header, len - header)) != ST_OK)
        return error_set(ret_error, ST_CORRUPT, "member/identity: its members cannot be read");
    return ST_OK;
}

/* ST_NOT_FOUND if there is none. */
static enum status identity_read(int dir_fd, struct data_dir *d, struct error *ret_error)
{
    static uint8_t data[IDENTITY_BYTES_MAX];
    size_t n;
    enum status st = small_file_read(dir_fd, "identity", data, sizeof data, &n, ret_error);

    return st == ST_OK ? identity_parse(d, data, n, ret_error) : st;
}

enum status data_dir_begin(struct data_dir *d, uint64_t cluster_id, uint64_t member_id, const struct members *initial,
                           struct error *ret_error)
{
    enum status st = ST_OK;

    d->cluster_id = cluster_id;
    d->member_id = member_id;
    for (unsigned i = 0; st == ST_OK && i < initial->count; i++)
        st = members_add(&d->initial, initial->list[i].id, initial->list[i].name, initial->list[i].peer_urls,
                         initial->list[i].peer_url_count);
    d->voters = (struct voters){.count = d->initial.conf.voter_count};
    return st == ST_OK ? identity_write(d->member_fd, d, ret_error) :
                         error_set(ret_error, st, "member/identity: members that cannot be");
}

enum status data_dir_check_owner(const struct data_dir *d, uint64_t member_id, struct error *ret_error)
{
    const struct member *is = members_look_up(&d->initial, d->member_id);
    const struct member *wanted = d->member_id == member_id ? NULL : members_look_up(&d->initial, member_id);

    if (!is || !wanted)
        return ST_OK;
    return error_set(ret_error, ST_BAD_ARGUMENT,
                     "%s: the data of member %s; %s is another member of the same cluster and needs its own", d->path,
                     is->name, wanted->name);
}

/* Who lives there, if anybody does. */
static enum status identity_open(struct data_dir *d, uint64_t random_seed, struct error *ret_error)
{
    struct rng rng = {.state = random_seed};
    enum status st = identity_read(d->member_fd, d, ret_error);

    d->is_new = st == ST_NOT_FOUND;
    if (st != ST_OK && !d->is_new)
        return st;
    if (d->is_new) {
        st = find_entry(d->wal_path, "", ret_error);
        if (st == ST_NOT_FOUND)
            st = find_entry(d->member_path, "store", ret_error);
        if (st == ST_OK)
            st = error_set(ret_error, ST_CORRUPT, "member/identity: missing, but there is a log or a store beside it");
        if (st != ST_NOT_FOUND)
            return st;
    }
    if (d->incarnation)
        return ST_OK;
    d->incarnation = rng_next(&rng) | 1;
    return d->is_new ? ST_OK : identity_write(d->member_fd, d, ret_error);
}

/* Its name must outlive a power cut, as all that will stand in it. */
static enum status make_name_durable(int dir_fd, const char *path, struct error *ret_error)
{
    int parent = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* whatever way it was given: x, /x, x/ */
    enum status st = ST_OK;

    /* Where names may be made but not listed, all of the file system. One that is never written to has nothing to lose. */
    if (parent < 0 ? errno != EACCES || syncfs(dir_fd) < 0 : fsync(parent) < 0 && errno != EINVAL && errno != EROFS)
        st = dir_error(ret_error, ST_IO, path, "its name cannot be made durable");
    if (parent >= 0)
        close(parent);
    return st;
}

bool data_dir_is_inhabited(const char *path)
{
    char identity[4096];

    return snprintf(identity, sizeof identity, "%s/member/identity", path) < (int)sizeof identity && access(identity, F_OK) == 0;
}

enum status data_dir_open(struct data_dir *d, const char *path, uint64_t random_seed, struct error *ret_error)
{
    int dir_fd = -1;
    enum status st;

    *d = (struct data_dir){.lock_fd = -1, .member_fd = -1, .path = path};
    st = open_private(path, &dir_fd, ret_error);
    if (st == ST_OK)
        st = take_lock(d, dir_fd, path, ret_error);
    if (st == ST_OK &&
        (snprintf(d->member_path, sizeof d->member_path, "%s/member", path) >= (int)sizeof d->member_path ||
         snprintf(d->wal_path, sizeof d->wal_path, "%s/member/wal", path) >= (int)sizeof d->wal_path))
        st = error_set(ret_error, ST_BAD_ARGUMENT, "data directory: the path is too long");
    if (st == ST_OK)
        st = open_private(d->member_path, &d->member_fd, ret_error);
    if (st == ST_OK)
        st = identity_open(d, random_seed, ret_error);
    if (st == ST_OK) {
        d->voters = (struct voters){.count = d->initial.conf.voter_count};
        st = voters_load(&d->voters, d->member_fd, ret_error);
    }
    if (st == ST_OK && fsync(dir_fd) < 0)
        st = dir_error(ret_error, ST_IO, path, "cannot be synced");
    if (st == ST_OK && d->is_new) /* also if it was there: who made it may have been killed before this */
        st = make_name_durable(dir_fd, path, ret_error);
    if (st == ST_OK)
        st = find_mark(d, "begun", &d->has_log, ret_error);
    if (st == ST_OK)
        st = find_mark(d, "damaged", &d->has_damage, ret_error);
    if (dir_fd >= 0)
        close(dir_fd);
    if (st != ST_OK)
        data_dir_close(d);
    return st;
}

/* A file that says something by being there. The text is for people: where there is no room for it, the mark counts all the same. */
static enum status make_mark(struct data_dir *d, const char *name, const char *text, struct error *ret_error)
{
    int fd = openat(d->member_fd, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool is_kept = fd >= 0 && write(fd, text, strlen(text)) >= 0 && fsync(fd) == 0;
    enum status st = fd < 0 || fsync(d->member_fd) < 0 ? dir_error(ret_error, ST_IO, name, "cannot be made") : ST_OK;

    (void)is_kept;
    if (fd >= 0)
        close(fd);
    return st;
}

enum status data_dir_log_begun(struct data_dir *d, struct error *ret_error)
{
    enum status st = d->has_log ? ST_OK : make_mark(d, "begun", "", ret_error);

    d->has_log = st == ST_OK;
    return st;
}

enum status data_dir_note_damage(struct data_dir *d, const char *what, struct error *ret_error)
{
    enum status st = make_mark(d, "damaged", what, ret_error);

    d->has_damage = d->has_damage || st == ST_OK;
    return st;
}

void data_dir_get_damage(const struct data_dir *d, struct error *ret_what)
{
    int fd = openat(d->member_fd, "damaged", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_what->text, sizeof ret_what->text - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0) {
        error_set(ret_what, ST_CORRUPT, "member/damaged does not say which");
        return;
    }
    for (ssize_t i = 0; i < n; i++)
        if ((unsigned char)ret_what->text[i] < ' ')
            ret_what->text[i] = ' ';
    ret_what->text[n] = 0;
}

enum status data_dir_forget_damage(struct data_dir *d, struct error *ret_error)
{
    if (!d->has_damage)
        return ST_OK;
    if ((unlinkat(d->member_fd, "damaged", 0) < 0 && errno != ENOENT) || fsync(d->member_fd) < 0)
        return dir_error(ret_error, ST_IO, "damaged", "cannot be removed");
    d->has_damage = false;
    return ST_OK;
}

void data_dir_close(struct data_dir *d)
{
    if (d->member_fd >= 0)
        close(d->member_fd);
    d->member_fd = -1;
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    d->lock_fd = -1;
    members_fini(&d->initial);
}
