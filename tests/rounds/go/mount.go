// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
)

const valueBytesMax = 4096

// mountStore is one mount. The calls are the system's own, each once: os.File would repeat one that a signal interrupted, and so do
// twice what may have been done.
//
//	put     open with O_CREAT and O_TRUNC, one write, close. The truncation goes with the write, so this is one put, at some time
//	        between the call of open and the return of write: from open on, since a file that is removed on this mount lives on in its
//	        handles, and what is then written to it was there and is gone with the removal. ESTALE: the file that was opened
//	        was removed by another client, and the store refused the write.
//	get     what a file below .linearizable/ holds; ENOENT: nothing is there.
//	peek    what the file itself holds, which the kernel may have cached.
//	delete  unlink below .linearizable/, where the name is looked up linearizably, so that ENOENT says that nothing was there.
type mountStore struct {
	directory string
}

func (m *mountStore) ready() bool { return true }

func (m *mountStore) kinds() []string {
	return []string{"get", "get", "get", "get", "get", "peek", "peek", "put", "put", "put", "put", "delete"}
}

func (m *mountStore) do(o *operation) {
	name := strings.TrimPrefix(o.Key, "/")
	plain, linearizable := filepath.Join(m.directory, name), filepath.Join(m.directory, ".linearizable", name)
	var err error
	switch o.Op {
	case "get":
		o.Found, o.Seen, err = read(linearizable)
	case "peek":
		o.Found, o.Seen, err = read(plain)
	case "put":
		err = write(plain, o.Value)
	case "delete":
		o.Found, err = remove(linearizable)
	}
	o.Result = resultOf(err)
}

// notBegun is an error of a call that comes before the one that changes something.
type notBegun struct{ error }

// resultOf: raftfs promises that ESTALE, EHOSTUNREACH and EAGAIN mean that nothing was changed (doc/raftfs.8); it has to keep that.
func resultOf(err error) string {
	var early notBegun
	switch {
	case err == nil:
		return resultOK
	case errors.As(err, &early), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EAGAIN):
		return resultRefused
	}
	return resultUnknown
}

func write(path, value string) error {
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return notBegun{err}
	}
	defer syscall.Close(fd) // nothing is held back that it could tell of
	_, err = syscall.Write(fd, []byte(value))
	return err
}

func read(path string) (bool, string, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENOENT) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	defer syscall.Close(fd)
	value := make([]byte, valueBytesMax)
	n, err := syscall.Read(fd, value)
	if err != nil {
		return false, "", err
	}
	return true, string(value[:n]), nil
}

func remove(path string) (bool, error) {
	err := syscall.Unlink(path)
	if errors.Is(err, syscall.ENOENT) {
		return false, nil
	}
	return err == nil, err
}
