package registry

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/durable"
	"millrace.dev/model"
)

// litterAge is how old a temporary file is when it is taken for what a crash has left. Nobody needs an hour
// from the creation of the file to its link; one who does is told to try again.
const litterAge = time.Hour

// folder is the registry on disk. Files are read directly and written through fsys.
type folder struct {
	dir  string
	fsys durable.FS
}

func (f folder) tmp() string    { return filepath.Join(f.dir, "tmp") }
func (f folder) events() string { return filepath.Join(f.dir, "events") }

func (f folder) event(seq int) string {
	return filepath.Join(f.events(), fmt.Sprintf("%09d.json", seq))
}

// blobDirs returns the folders above a blob, outermost first.
func (f folder) blobDirs(digest string) []string {
	blobs := filepath.Join(f.dir, "blobs")
	sums := filepath.Join(blobs, "sha256")
	return []string{blobs, sums, filepath.Join(sums, strings.TrimPrefix(digest, "sha256:")[:2])}
}

func (f folder) blob(digest string) string {
	return filepath.Join(f.blobDirs(digest)[2], strings.TrimPrefix(digest, "sha256:"))
}

func validDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

// lastEvent returns the highest number of an event, 0 if there is none.
func (f folder) lastEvent() (int, error) {
	entries, err := os.ReadDir(f.events())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	last := 0
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".json"))
		if err == nil && filepath.Base(f.event(n)) == e.Name() {
			last = max(last, n)
		}
	}
	return last, nil
}

// readEvent returns event seq. An error matches fs.ErrNotExist if there is none.
func (f folder) readEvent(seq int) (*Event, error) {
	data, err := readFile(f.event(seq), maxEvent)
	if err != nil {
		return nil, err
	}
	e, err := decodeEvent(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.event(seq), err)
	}
	return e, nil
}

// readFile reads at most limit bytes of a file, and one more if there are more.
func readFile(path string, limit int64) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if c := r.Close(); err == nil {
		err = c
	}
	return data, err
}

// addEvent writes an event. An error matches fs.ErrExist if another with its number is there.
func (f folder) addEvent(e *Event) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	for _, dir := range []string{f.dir, f.tmp(), f.events()} {
		if err := durable.MkdirAll(f.fsys, dir); err != nil {
			return err
		}
	}
	// The writer of the event before may not have synced it yet; after a power cut there must be no gap.
	if err := f.fsys.SyncDir(f.events()); err != nil {
		return err
	}
	return durable.Create(f.fsys, f.tmp(), f.event(e.Seq), data, 0o444)
}

// readBlob returns the blob called digest, of size bytes, and verifies both.
func (f folder) readBlob(digest string, size int64) ([]byte, error) {
	path := f.blob(digest)
	data, err := readFile(path, size)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, withHint(fmt.Errorf("%w: %s is missing", ErrCorrupt, path), "restore it from a backup, or register the same bundle again")
	case err != nil:
		return nil, err
	case int64(len(data)) != size || model.Digest(data) != digest:
		return nil, withHint(fmt.Errorf("%w: %s does not hold what was registered", ErrCorrupt, path),
			"restore it from a backup, or remove it and register the same bundle again")
	}
	return data, nil
}

// addBlob writes a blob, unless it is there.
func (f folder) addBlob(digest string, data []byte) error {
	for _, dir := range append([]string{f.dir, f.tmp()}, f.blobDirs(digest)...) {
		if err := durable.MkdirAll(f.fsys, dir); err != nil {
			return err
		}
	}
	path := f.blob(digest)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		err := durable.Create(f.fsys, f.tmp(), path, data, 0o444)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if _, err := f.readBlob(digest, int64(len(data))); err != nil {
		return err
	}
	return f.fsys.SyncDir(filepath.Dir(path)) // whoever wrote it may not have done so yet
}

// clean removes the temporary files that crashes have left. Their age is told by the file system's own clock,
// which is that of event seq, just written. Litter that cannot be removed stays.
func (f folder) clean(seq int) {
	fresh, err := os.Stat(f.event(seq))
	if err != nil {
		return
	}
	entries, err := os.ReadDir(f.tmp())
	if err != nil {
		return
	}
	for _, e := range entries {
		i, err := e.Info()
		if err == nil && strings.HasSuffix(e.Name(), durable.TempSuffix) && fresh.ModTime().Sub(i.ModTime()) > litterAge {
			_ = f.fsys.Remove(filepath.Join(f.tmp(), e.Name()))
		}
	}
}
