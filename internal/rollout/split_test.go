package rollout_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/rollout"
)

func split() *rollout.Split {
	return &rollout.Split{
		Experiment: "pricing", By: rollout.ByKey, Salt: "s", Arms: []rollout.Arm{
			{Name: "control", Model: "house@1", Digest: "sha256:aa", Slots: []assign.Range{{From: 0, To: 9000}}},
			{Name: "new", Model: "house@2", Digest: "sha256:bb", Slots: []assign.Range{{From: 9000, To: 10000}}},
		},
	}
}

func control(s *rollout.Split) *rollout.Control {
	return &rollout.Control{Current: &rollout.Deployment{Epoch: 7, Model: "house@1", Digest: "sha256:aa", Split: s}}
}

func TestSplitComesBack(t *testing.T) {
	t.Parallel()
	value, err := control(split()).Encode()
	if err != nil {
		t.Fatal(err)
	}
	c, err := rollout.DecodeControl(value)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(split(), c.Current.Split); d != "" {
		t.Error(d)
	}
	if c.Version != 2 {
		t.Errorf("version %d: who does not know of splits would predict all records with the control", c.Version)
	}
	plain, err := control(nil).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(plain), `{"version":1,`) {
		t.Errorf("%s: earlier versions can read what has no split", plain)
	}
}

func TestBadSplits(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*rollout.Split){
		"one arm":               func(s *rollout.Split) { s.Arms = s.Arms[:1] },
		"a slot without an arm": func(s *rollout.Split) { s.Arms[1].Slots[0].To-- },
		"a slot with two arms":  func(s *rollout.Split) { s.Arms[1].Slots[0].From-- },
		"two arms of a name":    func(s *rollout.Split) { s.Arms[1].Name = "control" },
		"no experiment":         func(s *rollout.Split) { s.Experiment = "" },
		"a long salt":           func(s *rollout.Split) { s.Salt = strings.Repeat("x", 300) },
		"no digest":             func(s *rollout.Split) { s.Arms[1].Digest = "" },
		"another way":           func(s *rollout.Split) { s.By = "moon" },
		"a partition twice": func(s *rollout.Split) {
			s.By, s.Arms[0].Partitions, s.Arms[1].Partitions = rollout.ByPartition, []int32{1}, []int32{1}
		},
		"a partition that is not": func(s *rollout.Split) { s.By, s.Arms[1].Partitions = rollout.ByPartition, []int32{-1} },
		"another control":         func(s *rollout.Split) { s.Arms[0].Model = "house@3" },
		"seventeen arms": func(s *rollout.Split) {
			for len(s.Arms) < 17 {
				s.Arms = append(s.Arms, rollout.Arm{Name: strings.Repeat("x", len(s.Arms)), Model: "m@1", Digest: "sha256:c"})
			}
		},
	} {
		s := split()
		change(s)
		value, err := json.Marshal(control(s))
		if err != nil {
			t.Fatal(err)
		}
		value = []byte(strings.Replace(string(value), `"version":0`, `"version":2`, 1))
		if _, err := rollout.DecodeControl(value); !errors.Is(err, rollout.ErrInvalid) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// FuzzDecodeControl has what is read be what may be run: with arms that each have a model, of which one has each slot.
func FuzzDecodeControl(f *testing.F) {
	for _, s := range []*rollout.Split{nil, split()} {
		value, err := control(s).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte(`{"version":2,"next":{"epoch":1,"model":"m@1","digest":"sha256:","split":{"by":"partition","arms":[{},{}]}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		c, err := rollout.DecodeControl(value)
		if err != nil {
			if !errors.Is(err, rollout.ErrInvalid) {
				t.Fatalf("%v is no error of this package", err)
			}
			return
		}
		for _, d := range []*rollout.Deployment{c.Current, c.Next} {
			if d == nil || d.Split == nil {
				continue
			}
			if err := d.Split.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		again, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rollout.DecodeControl(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
