package rollout

import (
	"errors"
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
	c := (&Control{}).Prepare(Deployment{Model: "houses@1", Digest: digest}, at(1000))
	if c.Current != nil || c.Next.Epoch != 1000 || c.Next.At != 1000 {
		t.Fatalf("%+v", c)
	}
	c = c.Switch(nil)
	if c.Current.Model != "houses@1" || c.Next != nil {
		t.Fatalf("%+v", c)
	}
	next := c.Prepare(Deployment{Model: "houses@2", Digest: digest}, at(400)) // a clock that went back
	if next.Next.Epoch != 1001 || !next.Current.Is(c.Current) {
		t.Fatalf("%+v", next)
	}
	if again := next.Prepare(Deployment{Model: "houses@3", Digest: digest}, at(400)); again.Next.Epoch != 1002 || !again.Current.Is(c.Current) {
		t.Fatalf("%+v", again)
	}
	if aborted := next.Abort(); aborted.Next != nil || !aborted.Current.Is(c.Current) {
		t.Fatalf("%+v", aborted)
	}
	turn := next.Switch([]string{"a"})
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
		"no JSON": "x", "another version": `{"version":2}`, "no version": `{}`, "an array": `[]`, "no epoch": `{"version":1,"current":{"model":"m@1","digest":"sha256:00"}}`,
		"no model": `{"version":1,"next":{"epoch":1,"digest":"sha256:00"}}`, "no digest": `{"version":1,"next":{"epoch":1,"model":"m@1","digest":"md5:00"}}`,
		"a negative epoch": `{"version":1,"next":{"epoch":-1,"model":"m@1","digest":"sha256:00"}}`, "an epoch that is none": `{"version":1,"next":{"epoch":1e30}}`,
		"too large": `{"version":1,"turns":["` + strings.Repeat("x", mostBytes) + `"]}`,
	} {
		if c, err := DecodeControl([]byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if s, err := DecodeStatus([]byte(value)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// TestProgress holds who is waited for, and who is in the way.
func TestProgress(t *testing.T) {
	t.Parallel()
	const epoch = 9
	status := func(instance, member string, of func(*Status)) *Status {
		s := &Status{Instance: instance, Member: member, Epoch: 5, Partitions: []Partition{{"houses", 0, 5, 10}}}
		of(s)
		return s
	}
	loading := func(s *Status) { s.Next = &Readiness{Epoch: epoch, Stage: Loading} }
	ready := func(s *Status) { s.Next = &Readiness{Epoch: epoch, Stage: Ready} }
	switched := func(s *Status) { s.Epoch, s.Partitions = epoch, []Partition{{"houses", 0, epoch, 20}} }
	for name, tc := range map[string]struct {
		members     []string
		statuses    []*Status
		ready, done bool
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
		})}, ready: true, done: true},
		"switched, without partitions": {members: []string{"m1"}, statuses: []*Status{status("a", "m1", func(s *Status) { s.Epoch, s.Partitions = epoch, nil })}, ready: true, done: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var members []Member
			for _, id := range tc.members {
				members = append(members, Member{ID: id, Host: "h"})
			}
			statuses := map[string]*Status{}
			for _, s := range tc.statuses {
				statuses[s.Instance] = s
			}
			p := ProgressOf(epoch, members, statuses)
			failed := ""
			if f := p.Failed(); f != nil {
				failed = f.Instance
			}
			if p.Ready() != tc.ready || p.Done() != tc.done || failed != tc.failed || len(p) != len(tc.members) {
				t.Errorf("ready %t, done %t, failed %q: %+v", p.Ready(), p.Done(), failed, p)
			}
		})
	}
}
