package task

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPunctuateOnStreamTime(t *testing.T) {
	t.Parallel()
	c := &Context{streamTime: NoTime}
	var got []int64
	c.OnStreamTime(10*time.Millisecond, func(at int64) error {
		got = append(got, at)
		return nil
	})
	for _, at := range []int64{42, 42, 51, 52, 61, 65, 71, 72, 95, 101, 102} {
		if c.streamTime = at; at >= c.nextTime {
			if err := c.punctuate(at); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]int64{42, 51, 61, 71, 95, 101}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNextPunctuation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ due, interval, at, want int64 }{
		{NoTime, 10, 0, 10},
		{NoTime, 10, 9, 10},
		{NoTime, 10, 10, 20},
		{20, 10, 20, 30},
		{20, 10, 29, 30},
		{25, 10, 31, 35},
		{25, 10, 99, 105},
	} {
		if got := next(c.due, c.interval, c.at); got != c.want {
			t.Errorf("next(%d, %d, %d) = %d, want %d", c.due, c.interval, c.at, got, c.want)
		}
	}
}
