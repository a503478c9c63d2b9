package rollout

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const digest = "sha256:4f4fbc"

func at(ms int64) time.Time { return time.UnixMilli(ms) }

// TestSteps takes a control through its steps: what is current stays so until the switch, and epochs rise whatever the clock says.
func TestSteps(t *testing.T) {
	t.Parallel()
	prepare := func(c *Control, model, champion string, seen int64, now time.Time) *Control {
		t.Helper()
		c, err := c.Prepare(Deployment{Model: model, Digest: digest}, champion, seen, now)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := prepare(&Control{}, "houses@1", "houses@0", 0, at(1000))
	if c.Current != nil || c.Next.Epoch != 1000 || c.Next.At != 1000 || c.Before != "houses@0" {
		t.Fatalf("%+v", c)
	}
	// Until a first one has come to its end, what was the champion before it is what instances begin with.
	if again := prepare(c.Abort(), "houses@2", "houses@1", 0, at(1001)); again.Before != "houses@0" || again.Current != nil {
		t.Fatalf("%+v", again)
	}
	c = c.Switch(nil)
	if c.Before != "" || c.Current.Model != "houses@1" || c.Next != nil {
		t.Fatalf("%+v", c)
	}
	next := prepare(c, "houses@2", "houses@1", 0, at(400)) // a clock that went back
	if next.Next.Epoch != 1001 || next.Before != "" || !next.Current.Is(c.Current) {
		t.Fatalf("%+v", next)
	}
	if seen := prepare(c, "houses@2", "houses@1", 5000, at(400)); seen.Next.Epoch != 5001 { // by partitions, before the topic was deleted
		t.Fatalf("%+v", seen)
	}
	if again := prepare(next, "houses@3", "houses@1", 0, at(400)); again.Next.Epoch != 1002 || !again.Current.Is(c.Current) {
		t.Fatalf("%+v", again)
	}
	if aborted := next.Abort(); aborted.Next != nil || !aborted.Current.Is(c.Current) {
		t.Fatalf("%+v", aborted)
	}
	turn := next.Switch([]string{"a"})
	if again := prepare(turn, "houses@3", "houses@2", 0, at(400)); !slices.Equal(again.Turns, []string{"a"}) || !slices.Equal(again.Abort().Turns, []string{"a"}) {
		t.Fatalf("%+v", again) // not all at once
	}
	for _, last := range []*Control{{Current: &Deployment{Epoch: mostEpoch}}, {Next: &Deployment{Epoch: mostEpoch}}} {
		if c, err := last.Prepare(Deployment{Model: "houses@2", Digest: digest}, "", 0, at(400)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if c, err := c.Prepare(Deployment{Model: "houses@2", Digest: digest}, "", math.MaxInt64, at(400)); !errors.Is(err, ErrInvalid) {
		t.Errorf("%+v, %v", c, err)
	}
	if later := turn.Switch([]string{"a", "b"}); !later.Current.Is(next.Next) || len(later.Turns) != 2 {
		t.Fatalf("%+v", later)
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	c := &Control{
		Current: &Deployment{Epoch: 5, Model: "houses@1", Digest: digest, By: "ada", Reason: "better", At: 5}, Next: &Deployment{Epoch: 6, Model: "houses@2", Digest: digest},
		Turns: []string{"a"},
	}
	value, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeControl(value)
	if diff := cmp.Diff(c, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if got, err := DecodeControl(nil); err != nil || got.Current != nil || got.Next != nil { // a tombstone
		t.Error(got, err)
	}
	s := &Status{
		Instance: "a", Member: "m", Program: "v1", At: 7, Model: "houses@1", Digest: digest, Epoch: 5, Next: &Readiness{Epoch: 6, Stage: Failed, Error: "gone", Final: true},
		Partitions: []Partition{{"houses", 2, 5, 100}},
	}
	if value, err = s.Encode(); err != nil {
		t.Fatal(err)
	}
	said, err := DecodeStatus(value)
	if diff := cmp.Diff(s, said); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for name, value := range map[string]string{
		"no JSON": "x", "another version": `{"version":3}`, "no version": `{}`, "an array": `[]`, "no epoch": `{"version":1,"current":{"model":"m@1","digest":"sha256:00"}}`,
		"no model": `{"version":1,"next":{"epoch":1,"digest":"sha256:00"}}`, "no digest": `{"version":1,"next":{"epoch":1,"model":"m@1","digest":"md5:00"}}`,
		"a negative epoch": `{"version":1,"next":{"epoch":-1,"model":"m@1","digest":"sha256:00"}}`, "an epoch that is none": `{"version":1,"next":{"epoch":1e30}}`,
		"an epoch that is too high": `{"version":1,"current":{"epoch":9007199254740993,"model":"m@1","digest":"sha256:00"}}`,
		"too large":                 `{"version":1,"turns":["` + strings.Repeat("x", mostBytes) + `"]}`,
	} {
		if c, err := DecodeControl([]byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if s, err := DecodeStatus([]byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// TestLater tells records of a later version, whatever they look like, from such as nobody can read.
func TestLater(t *testing.T) {
	t.Parallel()
	for value, later := range map[string]bool{`{"version":3,"current":"all","turns":{}}`: true, `{"version":0}`: false, `{"version":"2"}`: false, `{`: false} {
		if _, err := DecodeControl([]byte(value)); errors.Is(err, ErrNewer) != later {
			t.Errorf("%s: %v", value, err)
		}
		if _, err := DecodeStatus([]byte(value)); errors.Is(err, ErrNewer) != later {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestProgress holds who is waited for, and who is in the way.
func TestProgress(t *testing.T) {
	t.Parallel()
	const epoch, other = 9, "sha256:aa"
	status := func(instance, member string, of func(*Status)) *Status {
		s := &Status{Instance: instance, Member: member, Epoch: 5, Digest: other, Partitions: []Partition{{"houses", 0, 5, 10}}}
		of(s)
		return s
	}
	loading := func(s *Status) { s.Next = &Readiness{Epoch: epoch, Stage: Loading} }
	ready := func(s *Status) { s.Next = &Readiness{Epoch: epoch, Stage: Ready} }
	switched := func(s *Status) {
		s.Epoch, s.Digest, s.Partitions = epoch, digest, []Partition{{"houses", 0, epoch, 20}}
	}
	for name, tc := range map[string]struct {
		members     []string
		assigned    map[string][]int32
		statuses    []*Status
		ready, done bool
		later       bool
		failed      string
	}{
		"nobody":                       {ready: true, done: true},
		"one says nothing":             {members: []string{"m1"}},
		"one loads":                    {members: []string{"m1"}, statuses: []*Status{status("a", "m1", loading)}},
		"ready":                        {members: []string{"m1"}, statuses: []*Status{status("a", "m1", ready)}, ready: true},
		"ready for another deployment": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) { s.Next = &Readiness{Epoch: 8, Stage: Ready} })}},
		"one of two":                   {members: []string{"m1", "m2"}, statuses: []*Status{status("a", "m1", ready), status("b", "m2", loading)}},
		"of a member before":           {members: []string{"m2"}, statuses: []*Status{status("a", "m1", ready)}},
		"one that has ended":           {members: []string{"m1"}, statuses: []*Status{status("a", "m1", ready), status("b", "m2", loading)}, ready: true},
		"failed, and tries again": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) {
			s.Next = &Readiness{Epoch: epoch, Stage: Failed, Error: "away"}
		})}},
		"failed for good": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) {
			s.Next = &Readiness{Epoch: epoch, Stage: Failed, Error: "damaged", Final: true}
		})}, failed: "a"},
		"pinned":   {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) { s.Pinned = true })}, failed: "a"},
		"switched": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", switched)}, ready: true, done: true},
		"switched, one partition not": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) {
			switched(s)
			s.Partitions = append(s.Partitions, Partition{"houses", 1, 5, 0})
		})}, ready: true},
		"switched further": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) {
			s.Epoch, s.Partitions = epoch+1, []Partition{{"houses", 0, epoch + 1, 20}}
		})}, ready: true, done: true, later: true},
		"switched, and has what it says":    {members: []string{"m1"}, assigned: map[string][]int32{"houses": {0}}, statuses: []*Status{status("a", "m1", switched)}, ready: true, done: true},
		"switched, and says nothing of one": {members: []string{"m1"}, assigned: map[string][]int32{"houses": {0, 1}}, statuses: []*Status{status("a", "m1", switched)}, ready: true},
		"switched, and does not have the old one": {members: []string{"m1"}, assigned: map[string][]int32{"houses": {0}}, statuses: []*Status{status("a", "m1", func(s *Status) {
			switched(s)
			s.Partitions = append(s.Partitions, Partition{"houses", 1, 5, 0})
		})}, ready: true, done: true},
		"told of a later one": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) { s.Next = &Readiness{Epoch: epoch + 1, Stage: Ready} })}, later: true},
		"in the epoch with another model": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) {
			switched(s)
			s.Digest = other
		})}},
		"switched, without partitions": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) { s.Epoch, s.Digest, s.Partitions = epoch, digest, nil })}, ready: true, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var members []Member
			for _, id := range tc.members {
				members = append(members, Member{ID: id, Host: "h", Assigned: tc.assigned})
			}
			statuses := map[string]*Status{}
			for _, s := range tc.statuses {
				statuses[s.Instance] = s
			}
			p := ProgressOf(&Deployment{Epoch: epoch, Digest: digest}, members, statuses)
			failed := ""
			if f := p.Failed(); f != nil {
				failed = f.Instance
			}
			if p.Superseded() != tc.later || p.Ready() != tc.ready || p.Done() != tc.done || failed != tc.failed || len(p) != len(tc.members) {
				t.Errorf("ready %t, done %t, failed %q: %+v", p.Ready(), p.Done(), failed, p)
			}
		})
	}
}
