package letter

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Selection says which letters are meant. The zero value is all.
type Selection struct {
	Stage, Class, Field string // "" is any
	Since               int64  // letters of records with a timestamp from this on, in milliseconds; 0 is all
	Which               Which
}

// Which names one letter; the zero value names none.
type Which struct {
	id        string
	partition int32
	offset    int64
}

// ParseWhich reads the name of a letter: its id, 32 hex digits, or where it stands in its topic, PARTITION/OFFSET.
func ParseWhich(s string) (Which, error) {
	if p, o, ok := strings.Cut(s, "/"); ok {
		partition, err1 := strconv.ParseUint(p, 10, 31)
		offset, err2 := strconv.ParseUint(o, 10, 63)
		if err1 == nil && err2 == nil {
			return Which{partition: int32(partition), offset: int64(offset)}, nil
		}
	} else if b, err := hex.DecodeString(s); err == nil && len(b) == idBytes {
		return Which{id: strings.ToLower(s)}, nil
	}
	return Which{}, fmt.Errorf("%q: %w", s, errWhich)
}

var errWhich = errors.New("want the id of a letter, which is 32 hex digits, or its place in the topic, PARTITION/OFFSET")

// String returns the name as it was given.
func (w Which) String() string {
	if w.id != "" {
		return w.id
	}
	return fmt.Sprintf("%d/%d", w.partition, w.offset)
}

// Is tells whether a letter has the name.
func (w Which) Is(l *Letter) bool {
	if w.id != "" {
		return l.ID == w.id
	}
	return l.Raw.Partition == w.partition && l.Raw.Offset == w.offset
}

// Selects tells whether a letter is meant. One whose record has no timestamp counts by its own.
func (s *Selection) Selects(l *Letter) bool {
	at := l.Timestamp
	if at < 0 {
		at = l.Raw.Timestamp
	}
	return (s.Stage == "" || s.Stage == l.Stage) && (s.Class == "" || s.Class == l.Class) && (s.Field == "" || s.Field == l.Field) &&
		(s.Since == 0 || at >= s.Since) && (s.Which == Which{} || s.Which.Is(l))
}
