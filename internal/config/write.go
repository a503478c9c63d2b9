package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"millrace.dev/record"
)

// FileOptions say what WritePipeline cannot know from the data.
type FileOptions struct {
	Name string // of the pipeline; a legal one is made of it
	Data string // the path of the CSV file, relative to the pipeline file
}

// WritePipeline writes a pipeline file with comments that say what was seen in the data. [Parse] finds no problem in it.
// The same data and options give the same bytes. The error is that of w.
func (in *Inferred) WritePipeline(w io.Writer, o FileOptions) error {
	var b strings.Builder
	name := Name(o.Name)
	in.header(&b, name, o.Data)
	in.schema(&b)
	fmt.Fprintf(&b, "\nsource:\n  topic: %s\n", scalar(name))
	in.features(&b)
	in.train(&b, o.Data)
	fmt.Fprintf(&b, "\nsink:\n  topic: %s\n  field: %s\n", scalar(name+".predictions"), scalar(in.sinkField()))
	fmt.Fprintf(&b, "\ndead_letter:                    # records that get no prediction, each with the reason\n  topic: %s\n", scalar(name+".dlq"))
	in.checks(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// checks writes what checks can be, as a comment.
func (in *Inferred) checks(b *strings.Builder) {
	column := "a"
	for _, c := range in.Columns {
		if c.Type == record.Numeric && c.Ignored == "" && c.Name != in.Label && variableName(c.Name) {
			column = c.Name
			break
		}
	}
	fmt.Fprintf(b, `
# What the records of the stream have to be like. For example:
# checks:
#   record:
#     - {rule: %s in training, otherwise: warn}     # or dead_letter, or fail
#   window: {every: 1h}
`, column)
}

func (in *Inferred) header(b *strings.Builder, name, data string) {
	read := "all " + plural(in.Rows, "row")
	if !in.All {
		read = "the first " + plural(in.Rows, "row")
	}
	fmt.Fprintf(b, "# A pipeline made from %s. The comments say what was seen in %s of it;\n", comment(filepath.ToSlash(data)), read)
	b.WriteString("# the types of the fields are a guess that you should check. docs/reference/pipeline-file.md explains every key.\n")
	if in.Skipped > 0 {
		fmt.Fprintf(b, "# %s could not be read and was left out.\n", plural(in.Skipped, "more row"))
	}
	fmt.Fprintf(b, "version: 1\nname: %s\n\nkafka:\n  brokers: ${KAFKA_BROKERS:-localhost:9092}\n", scalar(name))
}

// schema writes the columns by type, in the order of the data.
func (in *Inferred) schema(b *strings.Builder) {
	b.WriteString("\nschema:\n")
	for _, t := range []record.Type{record.Time, record.Numeric, record.Enum, record.String} {
		var rows [][2]string
		for _, c := range in.Columns {
			if c.Type != t {
				continue
			}
			note := c.Seen
			if c.Missing > 0 {
				note += "; missing in " + plural(c.Missing, "row")
			}
			rows = append(rows, [2]string{"    - " + scalar(c.Name), note})
		}
		if len(rows) > 0 {
			fmt.Fprintf(b, "  %s:\n", t)
			writeRows(b, rows)
		}
	}
}

// writeRows writes lines whose comments stand below each other.
func writeRows(b *strings.Builder, rows [][2]string) {
	const least, most = 24, 48
	width := least
	for _, r := range rows {
		if n := utf8.RuneCountInString(r[0]); n <= most {
			width = max(width, n)
		}
	}
	for _, r := range rows {
		fmt.Fprintf(b, "%-*s  # %s\n", width, r[0], r[1])
	}
}

func (in *Inferred) features(b *strings.Builder) {
	b.WriteString("\n# Values computed of each record, by the same code in training and on the stream. For example:\n# features:\n")
	for _, c := range in.Columns {
		if c.Type == record.Time && variableName(c.Name) {
			fmt.Fprintf(b, "#   %s_month: month(%s)\n", c.Name, c.Name)
			return
		}
	}
	var names []string
	for _, c := range in.Columns {
		if c.Type == record.Numeric && c.Ignored == "" && c.Name != in.Label && variableName(c.Name) {
			names = append(names, c.Name)
		}
	}
	if len(names) > 1 {
		fmt.Fprintf(b, "#   ratio: %s / %s\n", names[0], names[1])
		return
	}
	b.WriteString("#   ratio: a / b\n")
}

func (in *Inferred) train(b *strings.Builder, data string) {
	fmt.Fprintf(b, "\ntrain:\n  data: %s\n", scalar(filepath.ToSlash(data)))
	if in.Where != "" {
		fmt.Fprintf(b, "  where: %s  # leaves out %s whose label is 0 or below\n", scalar(in.Where), plural(in.Bad, "row"))
	}
	fmt.Fprintf(b, "  label: %s\n", scalar(in.Label))
	var rows [][2]string
	for _, c := range in.Columns {
		if c.Ignored != "" {
			rows = append(rows, [2]string{"    - " + scalar(c.Name), c.Ignored})
		}
	}
	if len(rows) > 0 {
		b.WriteString("  ignore:                       # these are no inputs of the model\n")
		writeRows(b, rows)
	}
	b.WriteString("  split: {train: 0.7, validation: 0.2, test: 0.1, seed: 42}\n  gbm:\n    ntrees: 120\n")
	if in.Log {
		fmt.Fprintf(b, "    label_transform: log        # the label is skewed to the right (skewness %.1f)\n", in.Skew)
	}
}

// sinkField returns a name for the prediction that no column has.
func (in *Inferred) sinkField() string {
	field := "prediction"
	for taken := true; taken; {
		taken = false
		for _, c := range in.Columns {
			if strings.EqualFold(c.Name, field) && c.Name != in.Label {
				field, taken = "new_"+field, true
			}
		}
	}
	return field
}

// scalar returns s as a YAML scalar: as it is where that is safe in every version of YAML, else in double quotes. A $ is
// doubled, so that it begins no variable.
func scalar(s string) string {
	s = strings.ReplaceAll(s, "$", "$$")
	plain := s != "" && s == strings.TrimSpace(s)
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		plain = plain && (letter || i > 0 && (r >= '0' && r <= '9' || strings.ContainsRune(" .-/<>=", r)))
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		plain = false
	}
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// comment returns s without what would end a comment or could not be seen.
func comment(s string) string {
	q := fmt.Sprintf("%q", s)
	if q == `"`+s+`"` {
		return s
	}
	return q
}

// Create writes a new pipeline file. A file that is there already is an error, fs.ErrExist, unless overwrite is true; then it is
// replaced in one step. Folders that are missing are made.
func Create(path string, text []byte, overwrite bool) error {
	if err := create(path, text, overwrite); err != nil {
		return fmt.Errorf("config: write the pipeline file: %w", err)
	}
	return nil
}

func create(path string, text []byte, overwrite bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	var f *os.File
	var err error
	if overwrite {
		f, err = os.CreateTemp(filepath.Dir(path), ".pipeline-*")
	} else {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if overwrite {
		err = errors.Join(err, f.Chmod(0o644))
	}
	if err = errors.Join(err, f.Close()); err == nil && overwrite {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
