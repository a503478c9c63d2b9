package letter

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/task"
	"millrace.dev/record"
)

func TestLook(t *testing.T) {
	t.Parallel()
	p := newPost(t)
	at := p.stamp
	add := func(n int, change map[string]string) {
		for range n {
			p.write(dead, p.letter(record.Raw{Key: []byte("k"), Value: []byte("x")}, change))
			p.stamp += 1000
		}
	}
	add(3, map[string]string{task.LetterField: "area", task.LetterReason: "why"})
	add(2, map[string]string{task.LetterClass: "no_row", task.LetterStage: "enrich"})
	p.mustReplay(func(r *Replay) { r.Limit = 1 })
	add(1, map[string]string{task.LetterField: "area", task.LetterAttempt: "2", task.LetterReason: "why"})
	add(1, map[string]string{task.LetterGroup: "other"})
	p.write(dead, record.Raw{Value: []byte("no letter")})
	look := func(s Selection) *Survey {
		v, err := Look(t.Context(), p.client, dead, group, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	partition := task.Place([]byte("k"), 0, 2)
	decode := Count{Kind{"decode", "invalid_json", "area"}, 4, 1, at, at + 5000, 2, fmt.Sprintf("%d/5", partition), "why"}
	enrich := Count{Kind{"enrich", "no_row", ""}, 2, 0, at + 3000, at + 4000, 1, fmt.Sprintf("%d/4", partition), ""}
	for name, c := range map[string]struct {
		s    Selection
		want Survey
	}{
		"all":          {Selection{}, Survey{Letters: 6, Kinds: []Count{decode, enrich}, Others: 2}},
		"a class":      {Selection{Class: "no_row"}, Survey{Letters: 2, Kinds: []Count{enrich}, Others: 2}},
		"a stage":      {Selection{Stage: "decode"}, Survey{Letters: 4, Kinds: []Count{decode}, Others: 2}},
		"a field":      {Selection{Field: "area"}, Survey{Letters: 4, Kinds: []Count{decode}, Others: 2}},
		"none":         {Selection{Class: "wrong_type"}, Survey{Others: 2}},
		"since a time": {Selection{Since: at + 3000, Class: "no_row"}, Survey{Letters: 2, Kinds: []Count{enrich}, Others: 2}},
		"since later":  {Selection{Since: at + 6000}, Survey{Others: 2}},
	} {
		if diff := cmp.Diff(&c.want, look(c.s)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, name := range []string{fmt.Sprintf("%d/4", partition), fmt.Sprintf("%032X", 4)} {
		which, err := ParseWhich(name)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Find(t.Context(), p.client, dead, which)
		if err != nil || l == nil || l.Class != "no_row" || l.Raw.Offset != 4 {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	for _, name := range []string{fmt.Sprintf("%d/6", partition), fmt.Sprintf("%d/7", partition), "0/99", strings.Repeat("f", 32)} {
		which, err := ParseWhich(name)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := Find(t.Context(), p.client, dead, which); err != nil || l != nil && l.Group == group {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
	for _, name := range []string{"", "x", "1/", "/1", "-1/2", "1/-2", "9999999999/1", strings.Repeat("f", 31), strings.Repeat("g", 32)} {
		if _, err := ParseWhich(name); err == nil {
			t.Errorf("%q is the name of a letter", name)
		}
	}
}

// TestKindsAreBounded has more kinds than are told apart.
func TestKindsAreBounded(t *testing.T) {
	t.Parallel()
	v, kinds := &Survey{}, map[Kind]*Count{}
	for i := range maxKinds + 10 {
		v.count(kinds, &Letter{Stage: "decode", Class: strconv.Itoa(i)}, false)
	}
	if len(kinds) != maxKinds || v.Letters != maxKinds+10 || v.Beyond != 10 {
		t.Errorf("%d kinds of %d letters, %d beyond", len(kinds), v.Letters, v.Beyond)
	}
}

// FuzzParse reads headers that may say anything.
func FuzzParse(f *testing.F) {
	f.Add("millrace.dlq.partition", "4294967296", "millrace.dlq.offset", "-1")
	f.Add("millrace.dlq.attempt", "99999999999999999999", "millrace.dlq.stage", "decode")
	f.Add("own", "1", "millrace.dlq.class", "\x1b[2J")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		raw := record.Raw{Headers: []record.Header{{Key: k1, Value: []byte(v1)}, {Key: k2, Value: []byte(v2)}}}
		l, _ := Parse(raw)
		if l.Source.Partition < 0 || l.Source.Offset < 0 || l.Attempt < 0 || l.Timestamp < -1 || l.FirstSeen < -1 || l.ValueBytes < -1 {
			t.Errorf("%+v", l)
		}
		for _, h := range l.Headers {
			if strings.HasPrefix(h.Key, task.LetterPrefix) {
				t.Errorf("the record has the header %q", h.Key)
			}
		}
		for _, text := range []string{l.ID, l.Class, l.Stage, l.Reason, l.Source.Topic} {
			if len(text) > 500 {
				t.Errorf("a text of %d bytes", len(text))
			}
		}
	})
}
