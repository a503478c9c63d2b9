package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The outer form of a bundle; docs/formats/bundle.md has the words for it.
const (
	magic      = "millrace bundle "
	firstLine  = magic + "1, for millrace 0.1 or later\n"
	sealPrefix = "sha256 "
	sealSize   = len(sealPrefix) + 2*sha256.Size + 1

	format      = 1
	maxSections = 64
	maxName     = 32  // bytes in the name of a section
	maxLine     = 160 // bytes in a line of the index
	maxFirst    = 80  // bytes in the first line
)

// section is one named part of the file. A reader that does not know a critical section refuses the file.
type section struct {
	name     string
	critical bool
	data     []byte
}

func (s *section) kind() string {
	if s.critical {
		return "critical"
	}
	return "optional"
}

// pack returns the file that holds sections, which are in the order that [checkOrder] wants.
func pack(sections []section) []byte {
	var head bytes.Buffer
	size := sealSize
	head.WriteString(firstLine)
	for i := range sections {
		s := &sections[i]
		fmt.Fprintf(&head, "%s %s %d %x\n", s.name, s.kind(), len(s.data), sha256.Sum256(s.data))
		size += len(s.data)
	}
	head.WriteByte('\n')
	out := make([]byte, 0, head.Len()+size)
	out = append(out, head.Bytes()...)
	for i := range sections {
		out = append(out, sections[i].data...)
	}
	return append(out, seal(out)...)
}

// seal returns the last line of a file whose other bytes are body.
func seal(body []byte) string { return fmt.Sprintf("%s%x\n", sealPrefix, sha256.Sum256(body)) }

// unpack checks the seal of a file and then takes it apart. The sections share the memory of data.
func unpack(data []byte, limit int64) ([]section, error) {
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(data), limit)
	}
	if !bytes.HasPrefix(data, []byte(magic)) {
		return nil, ErrNotBundle
	}
	if len(data) < len(magic)+sealSize {
		return nil, fmt.Errorf("%w: it is cut off after %d bytes", ErrCorrupt, len(data))
	}
	body, last := data[:len(data)-sealSize], data[len(data)-sealSize:]
	if want := seal(body); string(last) != want {
		if !bytes.HasPrefix(last, []byte(sealPrefix)) {
			return nil, fmt.Errorf("%w: its last line is not a checksum: it is cut off, or bytes were added", ErrCorrupt)
		}
		return nil, damaged(body)
	}
	line, rest, err := cutLine(body, maxFirst)
	if err != nil {
		return nil, err
	}
	if err := checkFormat(line); err != nil {
		return nil, err
	}
	return readSections(rest)
}

// damaged returns the error of a file whose seal does not match its body; it names the section that is damaged, if one is.
func damaged(body []byte) error {
	if _, rest, err := cutLine(body, maxFirst); err == nil {
		if _, err := readSections(rest); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: its checksum does not match its content", ErrCorrupt)
}

// cutLine splits b after its first line, which it returns without the line feed.
func cutLine(b []byte, limit int) (line string, rest []byte, err error) {
	i := bytes.IndexByte(b[:min(len(b), limit)], '\n')
	if i < 0 {
		return "", nil, fmt.Errorf("%w: a line of its head does not end", ErrCorrupt)
	}
	return string(b[:i]), b[i+1:], nil
}

// checkFormat accepts the first line of this format, and says of a later one which millrace reads it.
func checkFormat(line string) error {
	if line+"\n" == firstLine {
		return nil
	}
	number, need, ok := strings.Cut(strings.TrimPrefix(line, magic), ", for millrace ")
	n, err := strconv.ParseUint(number, 10, 31)
	need, later := strings.CutSuffix(need, " or later")
	if !ok || !later || err != nil || n <= format || strings.Trim(need, "0123456789.") != "" {
		return fmt.Errorf("%w: its first line is not one of a bundle", ErrCorrupt)
	}
	return fmt.Errorf("%w: it has format %d, this millrace reads format %d: use millrace %s or later", ErrNewer, n, format, need)
}

// readSections reads the index at the start of b and cuts the rest of b into its sections.
func readSections(b []byte) ([]section, error) {
	var sections []section
	var sums []string
	var sizes []uint64
	for {
		line, rest, err := cutLine(b, maxLine)
		if err != nil {
			return nil, err
		}
		b = rest
		if line == "" {
			break
		}
		if len(sections) == maxSections {
			return nil, fmt.Errorf("%w: more than %d sections", ErrCorrupt, maxSections)
		}
		s, size, sum, err := readEntry(line)
		if err != nil {
			return nil, err
		}
		sections, sizes, sums = append(sections, s), append(sizes, size), append(sums, sum)
	}
	if err := checkOrder(sections); err != nil {
		return nil, err
	}
	for i := range sections {
		s := &sections[i]
		if sizes[i] > uint64(len(b)) {
			return nil, fmt.Errorf("%w: section %s: %d bytes, but %d are left", ErrCorrupt, s.name, sizes[i], len(b))
		}
		s.data, b = b[:sizes[i]:sizes[i]], b[sizes[i]:]
		if sum := sha256.Sum256(s.data); hex.EncodeToString(sum[:]) != sums[i] {
			return nil, fmt.Errorf("%w: section %s: its checksum does not match its content", ErrCorrupt, s.name)
		}
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes belong to no section", ErrCorrupt, len(b))
	}
	return sections, nil
}

// readEntry reads one line of the index. There is one way to write an entry, and it takes no other.
func readEntry(line string) (s section, size uint64, sum string, err error) {
	f := strings.Split(line, " ")
	if len(f) != 4 || !validSection(f[0]) || len(f[3]) != 2*sha256.Size {
		return s, 0, "", fmt.Errorf("%w: a line of its index is not one", ErrCorrupt)
	}
	s = section{name: f[0], critical: f[1] == "critical"}
	size, err = strconv.ParseUint(f[2], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != f[2] || s.kind() != f[1] {
		return s, 0, "", fmt.Errorf("%w: a line of its index is not one: section %s", ErrCorrupt, s.name)
	}
	return s, size, f[3], nil
}

func validSection(name string) bool {
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// checkOrder wants the manifest first and the others sorted by name, each name once.
func checkOrder(sections []section) error {
	if len(sections) == 0 || sections[0].name != partManifest {
		return fmt.Errorf("%w: its first section is not the manifest", ErrCorrupt)
	}
	for i := 1; i < len(sections); i++ {
		name := sections[i].name
		if name == partManifest || i > 1 && name <= sections[i-1].name {
			return fmt.Errorf("%w: section %s is out of order", ErrCorrupt, name)
		}
	}
	return nil
}
