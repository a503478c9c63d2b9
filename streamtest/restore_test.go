package streamtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/store"
	"millrace.dev/internal/task"
)

func TestCompacted(t *testing.T) {
	t.Parallel()
	put := func(k, v string) []store.Entry { return []store.Entry{{Key: []byte(k), Value: []byte(v)}} }
	c := &changes{last: task.NoTime}
	c.append(put("old", "1"), 10)
	c.append(put("a", "1"), 20)
	c.append(put("b", "1"), 100)
	c.append([]store.Entry{{Key: []byte("b")}}, 110)
	c.append(put("a", "2"), 115)
	for _, x := range []struct {
		name      string
		from      int64
		retention time.Duration
		want      []string
	}{
		{"all", 0, 0, []string{"old=1", "a=2"}},
		{"all that is young", 0, 50 * time.Millisecond, []string{"a=2"}},
		{"as old as allowed", 0, 105 * time.Millisecond, []string{"old=1", "a=2"}},
		{"a deletion matters to who has the row", 3, 0, []string{"b deleted", "a=2"}},
		{"the end", 5, 0, nil},
	} {
		var got []string
		for _, e := range c.compacted(x.from, task.StoreSpec{Retention: x.retention}) {
			if e.Value == nil {
				got = append(got, string(e.Key)+" deleted")
			} else {
				got = append(got, string(e.Key)+"="+string(e.Value))
			}
		}
		if diff := cmp.Diff(x.want, got); diff != "" {
			t.Errorf("%s: %s", x.name, diff)
		}
	}
}
