package source

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"millrace.dev/internal/pipeline"
)

// Format is what is in a file.
type Format uint8

// The formats of files.
const (
	CSV     Format = iota + 1 // a header and rows
	JSON                      // JSON objects, one a line
	Parquet                   // rows by column
)

// String returns the format's name.
func (f Format) String() string { return [...]string{"none", "CSV", "JSON lines", "Parquet"}[f] }

// Compression is how a file is compressed as a whole.
type Compression uint8

// The compressions of files.
const (
	Plain Compression = iota
	Gzip
	Zstd
)

// String returns the compression's name.
func (c Compression) String() string { return [...]string{"none", "gzip", "zstd"}[c] }

const formatHint = "the name ends in .csv, in .jsonl for one JSON object a line, or in .parquet; the first two may have .gz or .zst behind"

// FormatOf tells by a file's name what is in it. A name that does not say so is a [DataError] with [ErrFormat].
func FormatOf(path string) (Format, Compression, error) {
	name, c := strings.ToLower(path), Plain
	switch filepath.Ext(name) {
	case ".gz":
		name, c = strings.TrimSuffix(name, ".gz"), Gzip
	case ".zst":
		name, c = strings.TrimSuffix(name, ".zst"), Zstd
	}
	switch filepath.Ext(name) {
	case ".csv":
		return CSV, c, nil
	case ".json", ".jsonl", ".ndjson":
		return JSON, c, nil
	case ".parquet":
		if c == Plain {
			return Parquet, c, nil
		}
		return 0, 0, &DataError{Path: path, Err: ErrFormat, Hint: "a Parquet file is compressed inside: uncompress it first"}
	default:
		return 0, 0, &DataError{Path: path, Err: ErrFormat, Hint: formatHint}
	}
}

// Files returns the files that a name of data stands for: itself, or those that match where it is a pattern of
// [filepath.Match], in the bytewise order of their paths. A topic has none.
func Files(name string) ([]string, error) {
	if IsTopic(name) {
		return nil, nil
	}
	if _, err := os.Lstat(name); err == nil || !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil // a file's own name can look like a pattern
	}
	paths, err := filepath.Glob(name)
	if err != nil {
		return nil, &DataError{Path: name, Err: err, Hint: `a pattern has * for any text, ? for any character and [a-z] for one of some; \ before one of these takes it as it is`}
	}
	if len(paths) == 0 {
		return nil, &DataError{Path: name, Err: ErrNoMatch, Hint: "see whether the folder and the pattern are meant so; ** is not more than *"}
	}
	slices.Sort(paths)
	return paths, nil
}

// files are the files of a source.
type files struct {
	paths   []string
	kinds   []Compression
	format  Format
	columns []string // of a CSV or Parquet file; those of the first hold for all
	given   []string // of a CSV file, as its header has them
}

func openFiles(name string, o *Options) (*files, error) {
	paths, err := Files(name)
	if err != nil {
		return nil, err
	}
	f := &files{paths: paths}
	for _, path := range paths {
		format, c, err := FormatOf(path)
		if err != nil {
			return nil, err
		}
		if f.format != 0 && format != f.format {
			return nil, &DataError{
				Path: name, Err: fmt.Errorf("files of several formats: %s is %s, and %s is %s", paths[0], f.format, path, format),
				Hint: "write a pattern that only files of one format match",
			}
		}
		f.format, f.kinds = format, append(f.kinds, c)
	}
	for _, path := range paths[1:] { // the first is opened below
		if err := regular(path); err != nil {
			return nil, err
		}
	}
	p, err := f.open(0, o, nil)
	if err != nil {
		return nil, err
	}
	f.columns = p.columns()
	if l, ok := p.(*lines); ok {
		f.given = l.given
	}
	return f, p.close()
}

// regular wants path to be a file: opening a named pipe waits for a writer, and no signal ends that; and training reads
// the data more than once.
func regular(path string) error {
	i, err := os.Stat(path)
	switch {
	case err != nil || i.Mode().IsRegular():
		return nil //nolint:nilerr // opening it says what is wrong
	case i.IsDir():
		return &DataError{Path: path, Err: ErrNoFile, Hint: "for the files of a folder write a pattern, such as " + filepath.Join(path, "*.csv")}
	default:
		return &DataError{Path: path, Err: ErrNoFile, Hint: "write the records to a file first"}
	}
}

// sameColumns returns how the columns of a file differ from those of the first: in a CSV file their order counts too.
func (f *files) sameColumns(columns []string) error {
	want := f.columns
	if f.format == Parquet {
		want, columns = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(columns))
	}
	if slices.Equal(want, columns) {
		return nil
	}
	without := func(all, some []string) string {
		rest := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(some, name) })
		return strings.Join(rest, ", ")
	}
	var parts []string
	if lacks := without(want, columns); lacks != "" {
		parts = append(parts, "it lacks "+lacks)
	}
	if more := without(columns, want); more != "" {
		parts = append(parts, "it also has "+more)
	}
	if len(parts) == 0 {
		i := 0
		for want[i] == columns[i] {
			i++
		}
		parts = append(parts, fmt.Sprintf("column %d is %s in the place of %s", i+1, columns[i], want[i]))
	}
	return fmt.Errorf("its columns are not those of %s: %s", f.paths[0], strings.Join(parts, ", and "))
}

// recordFormat is the format of the records that come out.
func (f *files) recordFormat() pipeline.Format {
	if f.format == CSV {
		return pipeline.CSV
	}
	return pipeline.JSON
}
