package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const outputBuffer = 256 << 10

// output is what a command writes. A file takes its name only once it is complete, so that nobody takes half of it
// for all, and a file that is there stays until then. Standard output, a device and a pipe are written as they are.
type output struct {
	*bufio.Writer

	path string   // as it was given
	file *os.File // nil for standard output
	name string   // that the file takes; "" if it has it already
}

// create opens an output; "-" is standard output. The caller discards it, and before that commits it if all went well.
func create(path string, stdout io.Writer) (*output, error) {
	if path == "-" {
		return &output{Writer: bufio.NewWriterSize(stdout, outputBuffer), path: "standard output"}, nil
	}
	o := &output{path: path, name: path}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		o.name = target // a link stays a link
	}
	mode := fs.FileMode(0o666)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, &Error{Code: Usage, Op: "write " + path, Err: errors.New("it is a folder")}
	case err == nil && !info.Mode().IsRegular():
		o.name = ""
		o.file, err = os.OpenFile(path, os.O_WRONLY, 0)
	default:
		if err == nil {
			mode = info.Mode().Perm()
		}
		o.file, err = os.OpenFile(fmt.Sprintf("%s.%08x.partial", o.name, rand.Uint32()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	}
	if err != nil {
		return nil, o.fault(err)
	}
	o.Writer = bufio.NewWriterSize(o.file, outputBuffer)
	return o, nil
}

// commit ends outputs: each gets its name, but none before all of them are written.
func commit(outputs ...*output) error {
	for _, o := range outputs {
		if err := o.finish(); err != nil {
			return o.fault(err)
		}
	}
	for _, o := range outputs {
		if o.file == nil || o.name == "" {
			continue
		}
		if err := os.Rename(o.file.Name(), o.name); err != nil {
			return o.fault(err)
		}
		o.file = nil
	}
	return nil
}

// finish writes what is left, and closes the file.
func (o *output) finish() error {
	err := o.Flush()
	if o.file == nil {
		return err
	}
	if err == nil && o.name != "" {
		err = o.file.Sync()
	}
	return errors.Join(err, o.file.Close())
}

// discard removes what was written, unless it was committed.
func (o *output) discard() {
	if o.file == nil {
		return
	}
	_ = o.file.Close() // closed already, or what is in it is not wanted
	if o.name != "" {
		_ = os.Remove(o.file.Name()) // a .partial file that stays harms nobody
	}
	o.file = nil
}

// fault names the output by the path that was given, and not by the name that the file has for the time being.
func (o *output) fault(err error) error {
	code, hint := Explain(err)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return &Error{Code: code, Op: "write " + o.path, Err: err, Hint: hint}
}

// named is a path as it was given on the command line.
type named struct{ flag, path string }

// distinct wants paths that lead to different files. A path that is "" does not count, nor does a device.
func distinct(paths ...named) error {
	for i, a := range paths {
		for _, b := range paths[:i] {
			if a.path != "" && b.path != "" && sameFile(a.path, b.path) {
				return fmt.Errorf("%s and %s are the same: %s", b.flag, a.flag, a.path)
			}
		}
	}
	return nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX != nil || errY != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return x.Mode().IsRegular() && os.SameFile(x, y)
}

// CheckOutput wants a path that [WriteFile] could write to now; "" is none.
func CheckOutput(path string, stdout io.Writer) error {
	if path == "" {
		return nil
	}
	out, err := create(path, stdout)
	if err != nil {
		return err
	}
	out.discard()
	return nil
}

// WriteFile has a file written, or stdout where the path is "-". The file takes its name once it is complete.
func WriteFile(path string, stdout io.Writer, write func(io.Writer) error) error {
	out, err := create(path, stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	if err := write(out); err != nil {
		return err
	}
	return commit(out)
}
