package source

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TopicScheme begins the name of a topic's range.
const TopicScheme = "topic://"

// IsTopic tells whether a name of data is that of a topic's range, topic://NAME?from=A&to=B.
func IsTopic(name string) bool { return strings.HasPrefix(name, TopicScheme) }

// TopicOf returns the topic of a name of data, "" where that is no range of one.
func TopicOf(name string) string {
	topic, _, _ := strings.Cut(strings.TrimPrefix(name, TopicScheme), "?")
	if !IsTopic(name) {
		return ""
	}
	return topic
}

// CheckTopic returns what is wrong with the name of a topic's range, apart from what only the brokers know.
func CheckTopic(name string) error {
	_, err := parseRange(name)
	return err
}

// Where a range can begin and end.
const rangeHint = "a range is topic://NAME?from=A&to=B, where A and B are earliest, latest, a date such as 2014-05-31, a time such as " +
	"2014-05-31T06:00:00Z, offset:N, or offset:0=N,1=M by partition; A is in it, and B is not"

// markKind is how an end of a range is given.
type markKind uint8

const (
	markEarliest markKind = iota
	markLatest
	markTime
	markOffset  // the same in every partition
	markOffsets // by partition
)

// mark is one end of a range.
type mark struct {
	kind    markKind
	millis  int64
	offset  int64
	offsets map[int32]int64
}

// wanted is a range as its name says it.
type wanted struct {
	topic    string
	from, to mark
}

// parseRange reads a name. Nothing in it is encoded as in URLs: the names of topics and the ends need that not, and a +
// of a time's zone is a +.
func parseRange(name string) (*wanted, error) {
	fault := func(format string, args ...any) error {
		return &DataError{Path: name, Err: fmt.Errorf(format, args...), Hint: rangeHint}
	}
	topic, query, _ := strings.Cut(strings.TrimPrefix(name, TopicScheme), "?")
	if topic == "" {
		return nil, fault("it names no topic")
	}
	if i := strings.IndexFunc(topic, func(r rune) bool { return !strings.ContainsRune(topicLetters, r) }); i >= 0 {
		return nil, fault("no topic can be called %q: a name has letters, digits, dots, - and _", topic)
	}
	w := &wanted{topic: topic, from: mark{kind: markEarliest}, to: mark{kind: markLatest}}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		if part == "" {
			continue
		}
		end := map[string]*mark{"from": &w.from, "to": &w.to}[key]
		if end == nil || seen[key] {
			return nil, fault("%q: want from and to, once each", part)
		}
		seen[key] = true
		m, err := parseMark(value)
		if err != nil {
			return nil, fault("%s: %w", key, err)
		}
		*end = m
	}
	if w.from.kind == markTime && w.to.kind == markTime && w.from.millis > w.to.millis {
		return nil, fault("it ends before it begins")
	}
	return w, nil
}

const topicLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

func parseMark(text string) (mark, error) {
	switch text {
	case "earliest":
		return mark{kind: markEarliest}, nil
	case "latest":
		return mark{kind: markLatest}, nil
	}
	if list, ok := strings.CutPrefix(text, "offset:"); ok {
		return parseOffsets(list)
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			if at.Before(time.UnixMilli(0)) {
				return mark{}, errors.New("no record is of before 1970")
			}
			// A record is of a millisecond: the first one that is not before the instant.
			return mark{kind: markTime, millis: at.Add(time.Millisecond - 1).UnixMilli()}, nil
		}
	}
	if strings.HasPrefix(text, "-") {
		return mark{}, fmt.Errorf("%q: a time that depends on when it is read cannot be read again: write a date", text)
	}
	return mark{}, fmt.Errorf("%q is no place in a topic", text)
}

func parseOffsets(list string) (mark, error) {
	if n, err := strconv.ParseInt(list, 10, 64); err == nil && n >= 0 {
		return mark{kind: markOffset, offset: n}, nil
	}
	m := mark{kind: markOffsets, offsets: map[int32]int64{}}
	for item := range strings.SplitSeq(list, ",") {
		left, right, _ := strings.Cut(item, "=")
		partition, err := strconv.ParseInt(left, 10, 32)
		offset, errOffset := strconv.ParseInt(right, 10, 64)
		_, twice := m.offsets[int32(partition)]
		if err != nil || errOffset != nil || partition < 0 || offset < 0 || twice {
			return mark{}, fmt.Errorf("%q: want an offset, or PARTITION=OFFSET with commas between, once for each partition", list)
		}
		m.offsets[int32(partition)] = offset
	}
	return m, nil
}

// partitions returns those of the topic that the range names, or all where it names none.
func (w *wanted) partitions(all []int32) ([]int32, error) {
	var named []int32
	for _, m := range []mark{w.from, w.to} {
		if m.kind != markOffsets {
			continue
		}
		mine := slices.Sorted(maps.Keys(m.offsets))
		if named != nil && !slices.Equal(named, mine) {
			return nil, errors.New("from and to name other partitions")
		}
		named = mine
	}
	if named == nil {
		return all, nil
	}
	for _, p := range named {
		if !slices.Contains(all, p) {
			return nil, fmt.Errorf("it has no partition %d: its partitions are 0 to %d", p, len(all)-1)
		}
	}
	return named, nil
}
