//go:build unix

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"millrace.dev/e2e/torture"
	"millrace.dev/internal/assign"
	"millrace.dev/internal/rollout"
)

// abJSON is what ab start and ab stop print.
type abJSON struct {
	promotedJSON

	Experiment string         `json:"experiment"`
	Moved      float64        `json:"moved"`
	Split      *rollout.Split `json:"split"`
}

// TestSplit divides 2,000 records a second among the models of an experiment, in three instances, of which one is killed and another one comes;
// changes the weights, and ends the experiment. Each record has exactly one result, of the model that its key has by the hash, from the
// offsets on that the commands name; and it says what the control makes of it.
func TestSplit(t *testing.T) {
	beside(t)
	const partitions, keys, perSecond = 6, 500, 2000
	seed := newSeed(t)
	ctx := deadline(t, 10*time.Minute)
	c := newChange(ctx, t, seed, partitions, keys, perSecond*14)
	s := &splitStream{change: c}
	d := c.deliver(ctx, t, c.traffic, perSecond)

	s.ab(ctx, t, "start", s.arms(90, 10)...)
	must(t, c.instances[0].kill(ctx))
	c.instances[0] = c.start(t, "i0")
	c.instances = append(c.instances, c.start(t, "i3"))
	must(t, settled(ctx, c.admin(t), c.topics.Source, partitions, len(c.instances)))
	if more := s.ab(ctx, t, "start", s.arms(80, 20)...); more.Moved != 0.1 {
		t.Errorf("%v of the keys have another arm, want 0.1", more.Moved)
	}
	must(t, pause(ctx, 2*time.Second))
	s.ab(ctx, t, "stop")
	must(t, d.wait(ctx))
	must(t, c.observer.Wait(ctx))
	for _, i := range c.instances {
		if _, err := i.terminate(ctx); err != nil {
			t.Error(err)
		}
	}
	must(t, c.observer.Drain(ctx))
	if err := c.oracle.Report().Err(); err != nil {
		t.Error(err)
	}
	s.check(ctx, t)
}

// splitStream is a pipeline with an experiment.
type splitStream struct {
	*change

	said []abJSON
}

func (s *splitStream) arms(control, challenger int) []string {
	var args []string
	for _, set := range []string{
		"ab.name=pricing", "ab.arms.control.model=" + modelRef(0), "ab.arms.control.weight=" + strconv.Itoa(control),
		"ab.arms.challenger.model=" + modelRef(1), "ab.arms.challenger.weight=" + strconv.Itoa(challenger),
	} {
		args = append(args, "--set", set)
	}
	return args
}

// ab runs a command that has to succeed in all instances.
func (s *splitStream) ab(ctx context.Context, t *testing.T, verb string, more ...string) abJSON {
	t.Helper()
	o := s.run(ctx, t, append([]string{"ab", verb, "--by", "e2e", "--reason", "it is a test", "--json", "--timeout", "90s"}, more...)...)
	if o.code != 0 {
		t.Fatalf("exit status %d\n%s%s", o.code, o.stdout, o.stderr)
	}
	var said abJSON
	must(t, json.Unmarshal([]byte(tail(o.stdout, 1)), &said))
	s.syncCopy(t)
	if said.Instances != len(s.instances) {
		t.Errorf("%d instances have gone over, of %d", said.Instances, len(s.instances))
	}
	s.said = append(s.said, said)
	return said
}

// live returns the split of a record; nil is none.
func (s *splitStream) live(at torture.Source) (split *rollout.Split) {
	for i := range s.said {
		for _, p := range s.said[i].Partitions {
			if p.Topic == s.topics.Source && p.Partition == at.Partition && p.From <= at.Offset {
				split = s.said[i].Split
			}
		}
	}
	return split
}

// check holds each result against the arm of its key.
func (s *splitStream) check(ctx context.Context, t *testing.T) {
	t.Helper()
	at := map[torture.Source]int{}
	for i := range s.traffic.messages {
		at[s.traffic.messages[i].Source] = i
	}
	wrong, used := 0, map[string]int{}
	fault := func(format string, args ...any) {
		if wrong++; wrong <= 20 {
			t.Errorf(format, args...)
		}
	}
	h := assign.NewHasher("pricing")
	arm := func(split *rollout.Split, key []byte) int {
		if split == nil {
			return 0
		}
		table, err := split.Allocation().Table()
		must(t, err)
		return int(table[h.Slot(key)])
	}
	predictions, err := torture.Committed(ctx, s.cluster.Bootstrap(), s.topics.Predictions)
	must(t, err)
	for _, r := range predictions {
		got := headers(r)
		var from torture.Source
		if _, err := fmt.Sscanf(got["millrace.source"], s.topics.Source+"/%d/%d", &from.Partition, &from.Offset); err != nil {
			t.Fatal(err)
		}
		split := s.live(from)
		want, values := map[string]string{}, s.values[modelRef(0)]
		switch {
		case split != nil && r.Key != nil: // one without a key goes by where it stands
			i := arm(split, r.Key)
			want["millrace.experiment"], want["millrace.arm"], want["millrace.model"] = "pricing", split.Arms[i].Name, split.Arms[i].Model
			if values = s.values[split.Arms[i].Model]; i == 1 {
				want["millrace.baseline"] = predictionText(s.values[modelRef(0)][at[from]])
			}
		case split == nil:
			want["millrace.model"] = modelRef(0)
		default:
			values = s.values[got["millrace.model"]]
			want["millrace.baseline"] = got["millrace.baseline"]
		}
		for _, name := range []string{"millrace.experiment", "millrace.arm", "millrace.model", "millrace.baseline"} {
			if (want[name] != "" || split == nil) && got[name] != want[name] {
				fault("%s: header %s is %q, want %q", from, name, got[name], want[name])
			}
		}
		if _, has := got["millrace.baseline"]; has != (got["millrace.arm"] == "challenger") {
			fault("%s of arm %q: baseline %v", from, got["millrace.arm"], has)
		}
		if used[got["millrace.arm"]]++; !bytes.Equal(r.Value, values[at[from]]) {
			fault("%s has another prediction than %s gives", from, got["millrace.model"])
		}
	}
	s.checkLetters(ctx, t, arm, used, fault)
	if wrong > 0 || used["challenger"] == 0 || used["control"] == 0 || used[""] == 0 {
		t.Errorf("%d faults; results by arm: %v", wrong, used)
	}
	t.Logf("results by arm: %v", used)
}

func (s *splitStream) checkLetters(
	ctx context.Context, t *testing.T, arm func(*rollout.Split, []byte) int, used map[string]int, fault func(string, ...any),
) {
	t.Helper()
	letters, err := torture.Committed(ctx, s.cluster.Bootstrap(), s.topics.DeadLetters)
	must(t, err)
	for _, r := range letters {
		got := headers(r)
		from, err := letterSource(got, s.topics.Source)
		must(t, err)
		split := s.live(from)
		used["letters "+got["millrace.arm"]]++
		want, model := "", modelRef(0)
		if split != nil && r.Key != nil {
			i := arm(split, r.Key)
			want, model = split.Arms[i].Name, split.Arms[i].Model
		} else if split != nil {
			continue
		}
		if got["millrace.arm"] != want || got["millrace.dlq.model"] != model {
			fault("dead letter of %s names %s of arm %q, want %s of %q", from, got["millrace.dlq.model"], got["millrace.arm"], model, want)
		}
	}
}

// predictionText returns the prediction in a value, as text.
func predictionText(value []byte) string {
	i := bytes.LastIndexByte(value, ':')
	x, err := strconv.ParseFloat(string(bytes.TrimRight(value[i+1:], "}")), 64)
	if err != nil {
		return err.Error()
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}
