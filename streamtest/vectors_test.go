package streamtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/testenv"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// deliberate lists where the library is to give other results than Kafka Streams did: see DESIGN.md. Such a case is run
// like all others, and counted apart if its results differ; and they may differ in no other way than the reason says.
func deliberate() []difference {
	return []difference{
		{
			reason: "legacy JoinWindows.of: Kafka Streams emits unmatched records at once, and later matched",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool { return strings.HasPrefix(s.EmitUnmatched, "immediately") })
			},
			check: sameMatches,
			loose: true,
		},
		{
			reason: "max_bytes: Kafka Streams counts the bytes that its own objects take",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool { return s.Rule != nil && s.Rule.MaxBytes != nil })
			},
			check: func(*testing.T, *testCase, *spec, []result) error { return nil },
			loose: true,
		},
		{
			reason: "a join of tables with a result by foreign key that has no store: Kafka Streams does not send the deletion of what was not there",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool {
					return s.Op == "foreign_key_join" && s.Type == "inner" && s.Materialized != nil && !*s.Materialized
				})
			},
			check: deletionsOfBoth,
		},
		{
			reason: "a join of tables of a result by foreign key with its left table: where others have the foreign key the result is there at once, so that both tell of it",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool {
					return s.Op == "table_table_join" && s.Left.Op == "foreign_key_join" && s.Left.Left.raw == s.Right.raw
				})
			},
			check: toldByBoth,
		},
		{
			reason: "an inner join whose sides share a table: Kafka Streams keeps a result of a row that was deleted",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool {
					return s.Op == "table_table_join" && s.Type == "inner" && anywhere(s.Left, func(l *spec) bool { return l.raw == s.Right.raw })
				})
			},
			check: deletionsOfRows,
		},
		{
			reason: "a null key in a left stream-table join with grace: Kafka Streams fails",
			covers: func(c *testCase, _ *spec) bool { return noted(c, "NullPointerException") },
			check:  func(*testing.T, *testCase, *spec, []result) error { return nil },
			loose:  true,
		},
		{
			reason: "sliding windows: Kafka Streams sends a new window twice if it both ends with a record and begins after another",
			covers: func(_ *testCase, s *spec) bool {
				return anywhere(s, func(s *spec) bool { return s.Window == "sliding" })
			},
			check: sentOnce,
		},
		{
			reason: "an inner join by foreign key whose rows lose theirs or get one: Kafka Streams leaves the old result, and does not give the new one",
			covers: func(c *testCase, _ *spec) bool { return c.Family == "foreign_key_inner" },
			check:  lostRows,
		},
	}
}

// difference is a deliberate one.
type difference struct {
	reason string
	covers func(*testCase, *spec) bool
	check  func(*testing.T, *testCase, *spec, []result) error
	loose  bool // some results, or all, are not compared
}

// sameEarly tells whether a join of streams gives the results of Kafka Streams where it is asked to be like it in the
// one respect in which it is not by itself, KAFKA-19536: see DESIGN.md and stream.JoinWindow.
func sameEarly(t *testing.T, c *testCase, s *spec) bool {
	t.Helper()
	if !anywhere(s, func(s *spec) bool { return s.Op == "stream_stream_join" && s.Type != "inner" }) {
		return false
	}
	_, got, err := run(t, c, s, true)
	return err == nil && compare(c, got, 1) == nil
}

// sameMatches checks the results that have both sides.
func sameMatches(_ *testing.T, c *testCase, _ *spec, got []result) error {
	matched := *c
	isUnmatched := func(r result) bool { return strings.Contains(r.Value.String(), "null") }
	matched.Expect = slices.DeleteFunc(slices.Clone(c.Expect), isUnmatched)
	return compare(&matched, slices.DeleteFunc(slices.Clone(got), isUnmatched), 1)
}

func noted(c *testCase, word string) bool {
	return slices.ContainsFunc(c.Notes, func(n string) bool { return strings.Contains(n, word) })
}

func anywhere(s *spec, is func(*spec) bool) (found bool) {
	s.walk(func(s *spec) { found = found || is(s) })
	return found
}

// outcome is what became of a case.
type outcome struct {
	c       *testCase
	lacks   []string
	differs string // the reason of a deliberate difference
	early   bool   // passed with EarlyUnmatched, and not without
	cached  bool   // passed with EmitOnCommit, and not without
	err     error
	drops   string // how the count of dropped records deviates
}

// TestKafkaStreamsVectors runs the topologies and inputs that Kafka Streams has answered, and compares the answers. A
// family whose operators the library has must pass completely.
func TestKafkaStreamsVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(testenv.Vectors(t), "kstreams", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no *.json in %s/kstreams: %v", testenv.Vectors(t), err)
	}
	var all []outcome
	for _, file := range files {
		for _, c := range cases(t, file) {
			all = append(all, judge(t, c))
		}
	}
	report(t, all)
}

// TestOperatorsOfVectors runs cases of our own, for what the vectors may hold and those of Kafka Streams do not, so that
// its absence there is not taken for a pass.
func TestOperatorsOfVectors(t *testing.T) {
	t.Parallel()
	for _, c := range cases(t, filepath.Join("testdata", "operators.json")) {
		if o := judge(t, c); o.err != nil || o.lacks != nil || o.differs != "" || o.drops != "" {
			t.Errorf("%s: %v, lacks %v, differs %s, %s", c.Name, o.err, o.lacks, o.differs, o.drops)
		}
	}
}

// TestVectorsAreRead checks that what is not understood is a fault, and not a pass.
func TestVectorsAreRead(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`{"spec":{"op":"filter","predicate":"true","new_option":1,"of":{"op":"stream","topic":"in"}}}`:                             "new_option",
		`{"spec":{"op":"filter","predicate":"moon","of":{"op":"stream","topic":"in"}}}`:                                            `predicate "moon"`,
		`{"spec":{"op":"turn","of":{"op":"stream","topic":"in"}}}`:                                                                 `"turn" is not known`,
		`{"spec":{"op":"suppress","rule":{"until":"noon"},"of":{"op":"table","topic":"in"}}}`:                                      `rule until "noon"`,
		`{"spec":{"op":"stream","topic":"in"},"expect":[{"i":0,"to":"out","key":1,"value":1,"ts":1}]}`:                             "results differ",
		`{"spec":{"op":"stream","topic":"in"},"inputs":[{"topic":"in","key":1,"value":1,"ts":1}]}`:                                 "results differ",
		`{"spec":{"op":"map_values","fn":"len","of":{"op":"stream","topic":"in"}},"inputs":[{"topic":"in","key":1,"value":null}]}`: "panic",
	} {
		c := new(testCase)
		if err := json.Unmarshal([]byte(line), c); err != nil {
			t.Fatal(err)
		}
		if o := judge(t, c); o.err == nil || !strings.Contains(o.err.Error(), want) {
			t.Errorf("%s: got %v, want %s", line, o.err, want)
		}
	}
}

// cases reads a file of vectors: a JSON object a line.
func cases(t *testing.T, file string) (list []*testCase) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, len(b)+1)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		c := new(testCase)
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			t.Fatalf("%s:%d: %v", file, n, err)
		}
		list = append(list, c)
	}
	return list
}

// judge runs a case.
func judge(t *testing.T, c *testCase) outcome {
	t.Helper()
	o := outcome{c: c}
	s := new(spec)
	if o.err = strict(c.Spec, s); o.err != nil {
		return o
	}
	if s.Op == "words" {
		w := wordsOf(c)
		if w == nil {
			o.lacks = []string{"a topology for the words: " + s.Text}
		} else {
			o.err = w.run(t, c)
		}
		return o
	}
	d, got, err := run(t, c, s, false)
	if err != nil {
		if names, only := lacks(err); only {
			o.lacks = names
		} else {
			o.err = err
		}
		return o
	}
	if o.err = compare(c, got, level(c, s)); o.err != nil && sameEarly(t, c, s) {
		o.err, o.early = sameMatches(t, c, s, got), true
	}
	if o.err != nil && sameCached(t, c, s) {
		o.err, o.cached = nil, true
	}
	for _, x := range deliberate() {
		if o.err != nil && x.covers(c, s) {
			o.err, o.differs = x.check(t, c, s, got), x.reason
		}
	}
	n := 0
	for _, count := range d.Dropped() {
		n += count
	}
	if c.Dropped != nil && int(*c.Dropped) != n {
		o.drops = fmt.Sprintf("dropped %d records, Kafka Streams %d: %v", n, int(*c.Dropped), d.Dropped())
	}
	return o
}

// run makes the topology of a case, and gives it the inputs.
func run(t *testing.T, c *testCase, s *spec, early bool) (*streamtest.Driver, []result, error) {
	t.Helper()
	out := "out"
	if len(c.Expect) > 0 {
		out = c.Expect[0].To
	}
	b, err := topology(s, out, early)
	if err != nil {
		return nil, nil, err
	}
	d := streamtest.New(t, b.top, streamtest.KeepErrors())
	got, err := feed(d, b.outputs, c.Inputs)
	return d, got, err
}

// level is how strictly results are compared. Only the last record of each key counts for joins by foreign key, of
// which Kafka Streams shows a transient result.
func level(_ *testCase, s *spec) int {
	if anywhere(s, func(s *spec) bool { return s.Op == "foreign_key_join" && s.Type == "left" }) {
		return 2
	}
	return 1
}

// feed has the inputs processed, one at a time, and returns what came out.
func feed(d *streamtest.Driver, outputs map[string]bool, inputs []input) (got []result, err error) {
	drain := func(i int) error {
		for to, windowed := range outputs {
			for _, r := range results(d, to, windowed) {
				r.Input = i
				got = append(got, r)
			}
		}
		return d.Err()
	}
	if err := drain(-1); err != nil {
		return nil, err
	}
	for i, in := range inputs {
		if in.AdvanceWall != nil {
			d.Jump(milliseconds(*in.AdvanceWall))
		} else {
			r := stream.Record[value, value]{
				Key: in.Key, Value: in.Value.value, Timestamp: in.Timestamp,
				NullKey: in.Key == value{}, NullValue: in.Value.value == value{},
			}
			for _, h := range in.Headers {
				r.Headers = append(r.Headers, record.Header{Key: h[0], Value: []byte(h[1])})
			}
			streamtest.NewInput(d, in.Topic, values(), values()).PipeRecord(r)
		}
		if err := drain(i); err != nil {
			return got, fmt.Errorf("input %d: %w", i, err)
		}
	}
	return got, nil
}

// results reads what is new in a topic.
func results(d *streamtest.Driver, to string, windowed bool) (list []result) {
	if windowed {
		for _, r := range streamtest.NewOutput(d, to, stream.WindowedKey(values()), values()).ReadAll() {
			k := r.Key.Key.in(r.Key.Start, r.Key.End)
			list = append(list, result{To: to, Key: k, Value: payload{value: r.Value}, Timestamp: r.Timestamp})
		}
		return list
	}
	for _, r := range streamtest.NewOutput(d, to, values(), values()).ReadAll() {
		list = append(list, result{To: to, Key: r.Key, Value: payload{value: r.Value}, Timestamp: r.Timestamp})
	}
	return list
}

// compare holds results against what is expected: for each input the same records, in the same order for each key of a
// topic. On level 2 the last of each key counts only. Where Kafka Streams itself gave another order when it was asked
// again, order is left out.
func compare(c *testCase, got []result, level int) error {
	ordered := c.Replay != "multiset" && c.Replay != "differs"
	if diff := cmp.Diff(byInput(c.Expect, level, ordered), byInput(got, level, ordered)); diff != "" {
		return fmt.Errorf("results differ (-Kafka Streams +here):\n%s", diff)
	}
	return nil
}

// byInput returns the results as text, by input and by topic and key.
func byInput(list []result, level int, ordered bool) map[string][]string {
	m := map[string][]string{}
	for _, r := range list {
		of := fmt.Sprintf("input %d: %s %s", r.Input, r.To, r.Key.show())
		line := fmt.Sprintf("%s @%d", r.Value.show(), r.Timestamp)
		if level == 2 {
			m[of] = []string{line}
		} else {
			m[of] = append(m[of], line)
		}
	}
	if !ordered {
		for _, lines := range m {
			slices.Sort(lines)
		}
	}
	return m
}

// report prints a line for each family and one for all, and fails for what should pass and does not.
func report(t *testing.T, all []outcome) {
	t.Helper()
	families := map[string]*tally{}
	var total tally
	for _, o := range all {
		f := families[o.c.Family]
		if f == nil {
			f = &tally{}
			families[o.c.Family] = f
		}
		f.add(o)
		total.add(o)
		if o.err != nil {
			t.Errorf("%s\n%s\n%v", o.c.Name, o.c.Spec, o.err)
		}
		if o.drops != "" {
			t.Logf("%s: %s", o.c.Name, o.drops)
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(families)) {
		fmt.Fprintf(&b, "%s %s\n", name, families[name])
	}
	fmt.Fprintf(&b, "all families %s\n", &total)
	if _, err := os.Stdout.WriteString(b.String()); err != nil {
		t.Error(err)
	}
}

// tally is the counts of a family.
type tally struct {
	passed, failed, total int
	early, cached         int // of those that passed
	lacks                 []string
	differs               []string
}

func (f *tally) add(o outcome) {
	f.total++
	switch {
	case o.err != nil:
		f.failed++
	case len(o.lacks) > 0:
		for _, l := range o.lacks {
			if !slices.Contains(f.lacks, l) {
				f.lacks = append(f.lacks, l)
			}
		}
	case o.differs != "":
		f.differs = append(f.differs, o.differs)
	default:
		f.passed++
		if o.early {
			f.early++
		}
		if o.cached {
			f.cached++
		}
	}
}

// String returns "passed/total", and what there is to say about the rest.
func (f *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d/%d", f.passed, f.total)
	if f.failed > 0 {
		fmt.Fprintf(&b, " failed: %d", f.failed)
	}
	if f.early > 0 {
		fmt.Fprintf(&b, " as with EarlyUnmatched: %d (KAFKA-19536)", f.early)
	}
	if f.cached > 0 {
		fmt.Fprintf(&b, " as with EmitOnCommit: %d (a cache before the store)", f.cached)
	}
	if len(f.lacks) > 0 {
		slices.Sort(f.lacks)
		fmt.Fprintf(&b, " lacks: %s", strings.Join(f.lacks, ", "))
	}
	reasons := slices.Sorted(slices.Values(f.differs))
	for i := 0; i < len(reasons); {
		n := 1
		for i+n < len(reasons) && reasons[i+n] == reasons[i] {
			n++
		}
		fmt.Fprintf(&b, " differs deliberately: %d (%s)", n, reasons[i])
		i += n
	}
	return b.String()
}
