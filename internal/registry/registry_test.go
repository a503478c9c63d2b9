package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/durable"
	"millrace.dev/internal/durable/errorfs"
	"millrace.dev/model"
	"pgregory.net/rapid"
)

func TestLifeOfAModel(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, filepath.Join(t.TempDir(), "deep", "models"))
	data := f.make(1)
	at := func(second int) time.Time { return time.Date(2014, 7, 10, 19, 0, second, 0, time.UTC) }

	want := Version{
		Model: "house-prices", Number: 1, Digest: model.Digest(data), Bytes: int64(len(data)), State: StateCandidate,
		Aliases: []string{AliasCandidate}, RegisteredBy: "train", RegisteredAt: at(1),
	}
	v := mustRegister(t, r, data)
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
	if v.Ref() != "house-prices@1" {
		t.Error(v.Ref())
	}
	if err := v.CheckApproved(); !errors.Is(err, ErrNotApproved) ||
		!strings.Contains(err.Error(), "approve it: millrace model approve house-prices@1 --by NAME --reason TEXT") {
		t.Error(err)
	}

	want.State, want.Aliases, want.DecidedBy, want.DecidedAt, want.Reason = StateApproved, []string{AliasChampion}, "Anna Ek", at(2), "RMSE 180,000"
	want.Approvals = []Approval{{Seq: 2, By: "Anna Ek", Reason: "RMSE 180,000", At: at(2)}}
	v, err := r.Approve(t.Context(), "@candidate", "house-prices", Decision{By: " Anna Ek ", Reason: "RMSE 180,000\n"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
	if err := v.CheckApproved(); err != nil {
		t.Error(err)
	}
	if got, err := r.Load(t.Context(), v); err != nil || string(got) != string(data) {
		t.Error("other bytes came back:", err)
	}

	v, err = r.Reject(t.Context(), "house-prices@champion", "", Decision{By: "bob", Reason: "label leaks"})
	if err != nil {
		t.Fatal(err)
	}
	want.State, want.Aliases, want.DecidedBy, want.DecidedAt, want.Reason = StateRejected, nil, "bob", at(3), "label leaks"
	want.Approvals = nil
	if diff := cmp.Diff(want, v); diff != "" {
		t.Error(diff)
	}
	if err := v.CheckApproved(); !errors.Is(err, ErrNotApproved) || !strings.Contains(err.Error(), "bob rejected it (label leaks)") {
		t.Error(err)
	}

	again, err := Open(r.Location(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	shown, events, err := again.Show(t.Context(), "house-prices@1", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, shown); diff != "" {
		t.Error(diff)
	}
	var actions []Action
	for _, e := range events {
		actions = append(actions, e.Action)
	}
	if diff := cmp.Diff([]Action{Registered, Approved, Rejected}, actions); diff != "" {
		t.Error(diff)
	}
	log, err := again.Log(t.Context())
	if diff := cmp.Diff(events, log); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if report := mustVerify(t, again); report != (Report{Events: 3, Blobs: 1, Head: events[2].Sum}) {
		t.Errorf("%+v", report)
	}
}

func TestTheSameBytesAreOneVersionUntilRejected(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	data := f.make(1)
	register := func(want int) {
		t.Helper()
		if v := mustRegister(t, r, data); v.Number != want {
			t.Errorf("version %d, want %d", v.Number, want)
		}
	}
	register(1)
	register(1)
	mustRegister(t, r, f.make(2))
	register(1)
	mustApprove(t, r, "@1")
	register(1)
	mustReject(t, r, "@1")
	register(3)
	register(3)
	if v := mustRegister(t, r, f.named("rents", "run-1")); v.Ref() != "rents@1" {
		t.Error("another model:", v.Ref())
	}
	if report := mustVerify(t, r); report.Events != 6 || report.Blobs != 3 {
		t.Errorf("%+v", report)
	}
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	for i := range 4 {
		mustRegister(t, r, f.make(i))
	}
	check := func(champion, candidate int, states string) {
		t.Helper()
		versions, err := r.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		aliases := map[string]int{}
		for _, v := range versions {
			got.WriteByte(v.State[0])
			for _, a := range v.Aliases {
				aliases[a] = v.Number
			}
		}
		if got.String() != states || aliases[AliasChampion] != champion || aliases[AliasCandidate] != candidate {
			t.Errorf("states %s, champion %d, candidate %d; want %s, %d, %d",
				&got, aliases[AliasChampion], aliases[AliasCandidate], states, champion, candidate)
		}
	}
	check(0, 4, "cccc")
	mustReject(t, r, "@candidate")
	check(0, 3, "cccr") // the next newest waits
	mustApprove(t, r, "@2")
	check(2, 3, "cacr")
	mustApprove(t, r, "@candidate")
	check(2, 0, "caar") // version 1 is older than an approved one
	mustPromote(t, r, "@3")
	check(3, 0, "caar")
	if _, err := r.Resolve(t.Context(), "@candidate", "house-prices"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if v, err := r.Before(t.Context(), "house-prices"); err != nil || v.Number != 2 {
		t.Error(v, err)
	}
	if _, err := r.RollBack(t.Context(), "@2", "house-prices", Decision{By: "eva", Reason: "back to the old one"}); err != nil {
		t.Error(err)
	}
	check(2, 0, "caar") // the way back
	if v, err := r.Before(t.Context(), "house-prices"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second rollback goes forward, to %s: %v", v.Ref(), err)
	}
	mustReject(t, r, "@2")
	check(0, 0, "crar") // people decide what comes next
	if _, err := r.Resolve(t.Context(), "@champion", "house-prices"); !errors.Is(err, ErrNotApproved) ||
		!strings.Contains(err.Error(), "go back to house-prices@3: millrace model promote house-prices@3 --by") {
		t.Error(err)
	}
	mustApprove(t, r, "@1")
	check(1, 0, "arar")

	if _, err := r.Promote(t.Context(), "@2", "house-prices", Decision{By: "eva", Reason: "it was good"}); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	before := mustVerify(t, r).Events
	mustApprove(t, r, "@1") // the same again
	mustReject(t, r, "@2")
	if n := mustVerify(t, r).Events; n != before {
		t.Errorf("doing the same again wrote %d events", n-before)
	}
	for _, decide := range []func(context.Context, string, string, Decision) (Version, error){r.Approve, r.Reject, r.Retire} {
		if _, err := decide(t.Context(), "@2", "house-prices", Decision{By: "eva", Reason: "other words"}); !errors.Is(err, ErrRejected) ||
			!strings.Contains(err.Error(), "by bob (bad), which is final") {
			t.Error(err)
		}
	}
	mustReject(t, r, "@3") // approved, not the champion
	check(1, 0, "arrr")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f, dir := newFactory(t), t.TempDir()
	r := openDir(t, dir)
	resolve := func(ref, name string) error {
		_, err := r.Resolve(t.Context(), ref, name)
		return err
	}
	if err := resolve("house-prices@1", ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "the registry is empty") {
		t.Error(err)
	}
	mustRegister(t, r, f.make(1))
	mustRegister(t, r, f.named("rents", "1"))
	mustReject(t, r, "rents@1")
	approve := func(ref, by, reason string) error {
		_, err := r.Approve(t.Context(), ref, "", Decision{By: by, Reason: reason})
		return err
	}
	damaged := f.make(2)
	damaged[100]++
	register := func(data []byte, by string) error {
		_, err := r.Register(t.Context(), data, by)
		return err
	}
	for name, tc := range map[string]struct {
		err  error
		want error
		text string
	}{
		"model":               {resolve("houses@1", ""), ErrNotFound, "no model houses is registered; it has house-prices, rents"},
		"version":             {resolve("house-prices@2", ""), ErrNotFound, "the last version of house-prices is 1"},
		"no champion yet":     {resolve("@champion", "house-prices"), ErrNotApproved, "approve it: millrace model approve house-prices@1 --by NAME --reason TEXT"},
		"no champion at all":  {resolve("rents@champion", ""), ErrNotApproved, "train a new version"},
		"no candidate":        {resolve("rents@candidate", ""), ErrNotFound, "no version of rents waits for review"},
		"no @":                {resolve("house-prices", ""), ErrInvalid, "NAME@NUMBER"},
		"no name":             {resolve("@1", ""), ErrInvalid, "lower-case"},
		"path":                {resolve("../etc@1", ""), ErrInvalid, "lower-case"},
		"alias":               {resolve("house-prices@best", ""), ErrInvalid, "what follows the @"},
		"version 0":           {resolve("house-prices@0", ""), ErrInvalid, "number from 1"},
		"leading zero":        {resolve("house-prices@01", ""), ErrInvalid, "number from 1"},
		"two":                 {resolve("house-prices@1@1", ""), ErrInvalid, "number from 1"},
		"huge":                {resolve("house-prices@99999999999999999999", ""), ErrInvalid, "number from 1"},
		"no actor":            {approve("house-prices@1", " \t", "x"), ErrInvalid, "the name of who decides is empty"},
		"no reason":           {approve("house-prices@1", "anna", ""), ErrInvalid, "the reason is empty"},
		"two lines":           {approve("house-prices@1", "anna", "a\nb"), ErrInvalid, "U+000A"},
		"escape":              {approve("house-prices@1", "anna\x1b[2J", "x"), ErrInvalid, "U+001B"},
		"reversed":            {approve("house-prices@1", "anna", "a\u202eb"), ErrInvalid, "U+202E"},
		"not utf-8":           {approve("house-prices@1", "anna", "\xff"), ErrInvalid, "UTF-8"},
		"long actor":          {approve("house-prices@1", strings.Repeat("a", 201), "x"), ErrInvalid, "the limit is 200"},
		"long reason":         {approve("house-prices@1", "anna", strings.Repeat("a", 4001)), ErrInvalid, "the limit is 4000"},
		"approve nothing":     {approve("house-prices@7", "anna", "x"), ErrNotFound, "last version"},
		"register by nobody":  {register(f.make(2), ""), ErrInvalid, "who registers"},
		"register no bundle":  {register([]byte("price\n1\n"), "train"), model.ErrNotBundle, ""},
		"register a damaged":  {register(damaged, "train"), model.ErrCorrupt, ""},
		"load what is no sum": {loadError(r, Version{Digest: "sha256:../../etc/passwd", Bytes: 1}), ErrInvalid, "digest"},
		"load what is gone":   {loadError(r, Version{Digest: model.Digest(nil), Bytes: 1}), ErrCorrupt, "is missing"},
	} {
		if !errors.Is(tc.err, tc.want) || !strings.Contains(fmt.Sprint(tc.err), tc.text) {
			t.Errorf("%s: got %v, want %v with %q", name, tc.err, tc.want, tc.text)
		}
	}
	if report := mustVerify(t, r); report.Events != 3 || report.Blobs != 2 {
		t.Errorf("a refusal left something: %+v", report)
	}
}

func loadError(r *Registry, v Version) error {
	_, err := r.Load(context.Background(), v)
	return err
}

func TestReasonsInAnyScript(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	const actor, reason = "Åsa 张伟", "می\u200cشود <b> & \"ok\" \\ 👍"
	if _, err := r.Approve(t.Context(), "@1", "house-prices", Decision{By: actor, Reason: reason}); err != nil {
		t.Fatal(err)
	}
	v, err := openDir(t, r.Location()).Resolve(t.Context(), "@champion", "house-prices")
	if err != nil || v.DecidedBy != actor || v.Reason != reason {
		t.Errorf("%+v %v", v, err)
	}
}

func TestReadingWritesNothing(t *testing.T) {
	t.Parallel()
	f, dir := newFactory(t), t.TempDir()
	v := mustRegister(t, openDir(t, dir), f.make(1))
	fsys := errorfs.New(durable.OS(), 0, errorfs.Die)
	r, err := open(dir, Options{}, fsys)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := r.List(t.Context())
	_, _, err2 := r.Show(t.Context(), "@1", "house-prices")
	_, err3 := r.Load(t.Context(), v)
	_, err4 := r.Verify(t.Context())
	if err := errors.Join(err1, err2, err3, err4); err != nil || len(fsys.Steps()) > 0 {
		t.Error(err, fsys.Steps())
	}
	none := filepath.Join(t.TempDir(), "none")
	if all, err := openDir(t, none).List(t.Context()); err != nil || len(all) > 0 {
		t.Error(all, err)
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Error("reading made the folder")
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	v := mustRegister(t, r, f.make(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err1 := r.Register(ctx, f.make(2), "train")
	_, err2 := r.Approve(ctx, "@1", "house-prices", Decision{By: "anna", Reason: "good"})
	_, err3 := r.Load(ctx, v)
	_, err4 := r.Verify(ctx)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// rules is a registry as the documentation of the package has it, of one model.
type rules struct {
	states    []State // by version
	content   []int   // what was registered, by version
	champion  int
	champions []int // in order
}

// register returns the version that bundle c is.
func (m *rules) register(c int) int {
	for i, s := range slices.Backward(m.states) {
		if m.content[i] == c && s != StateRejected {
			return i + 1
		}
	}
	m.states, m.content = append(m.states, StateCandidate), append(m.content, c)
	return len(m.states)
}

// decide tells whether an action on version n is admitted, and does it.
func (m *rules) decide(action Action, n int) bool {
	if n > len(m.states) || m.states[n-1] == StateRejected {
		return false
	}
	crown := false
	switch action {
	case Approved:
		m.states[n-1], crown = StateApproved, m.champion == 0
	case Rejected:
		m.states[n-1] = StateRejected
	case Retired:
		m.states[n-1] = StateRetired
	case Promoted, RolledBack:
		if m.states[n-1] != StateApproved {
			return false
		}
		crown = true
	case Registered, RootSet, Purged, Tried, Noted: // they are no decisions about what is to run
	}
	if crown {
		m.champion = n
		if at := slices.Index(m.champions, n); action == RolledBack && at >= 0 { // what was after it the last time was taken back
			for m.champions[len(m.champions)-1] != n {
				m.champions = m.champions[:len(m.champions)-1]
			}
		} else {
			m.champions = append(m.champions, n)
		}
	} else if m.champion == n && m.states[n-1] != StateApproved {
		m.champion = 0
	}
	return true
}

func (m *rules) candidate() int {
	n := 0
	for i, s := range m.states {
		switch s {
		case StateCandidate:
			n = i + 1
		case StateApproved:
			n = 0
		case StateRejected, StateRetired:
		}
	}
	return n
}

func (m *rules) before() int {
	for _, n := range slices.Backward(m.champions) {
		if n != m.champion && m.states[n-1] == StateApproved {
			return n
		}
	}
	return 0
}

// check compares the registry with its rules.
func (m *rules) check(rt *rapid.T, r *Registry) {
	all, err := r.List(context.Background())
	if err != nil || len(all) != len(m.states) {
		rt.Fatal(all, err)
	}
	for i, v := range all {
		var aliases []string
		if m.candidate() == i+1 {
			aliases = append(aliases, AliasCandidate)
		}
		if m.champion == i+1 {
			aliases = append(aliases, AliasChampion)
		}
		if diff := cmp.Diff(aliases, v.Aliases); diff != "" || v.State != m.states[i] || v.Number != i+1 {
			rt.Fatalf("version %d is %s, want %s: %s", v.Number, v.State, m.states[i], diff)
		}
	}
	if v, err := r.Before(context.Background(), "house-prices"); v.Number != m.before() || (err != nil) != (m.before() == 0) {
		rt.Fatalf("the champion before is %d, %v; want %d", v.Number, err, m.before())
	}
}

// TestRules runs random actions beside the rules as the documentation of the package has them.
func TestRules(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	var bundles [][]byte
	for i := range 4 {
		bundles = append(bundles, f.make(i))
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		r, err := open(dir, Options{Now: clock()}, quickFS{durable.OS()})
		if err != nil {
			rt.Fatal(err)
		}
		m := &rules{}
		decide := map[Action]func(context.Context, string, string, Decision) (Version, error){
			Approved: r.Approve, Rejected: r.Reject, Retired: r.Retire, Promoted: r.Promote, RolledBack: r.RollBack,
		}
		for step := range rapid.IntRange(1, 20).Draw(rt, "steps") {
			by := fmt.Sprint("by ", step)
			action := rapid.SampledFrom([]Action{Registered, Registered, Approved, Approved, Rejected, Retired, Promoted, RolledBack}).Draw(rt, "action")
			n := rapid.IntRange(1, 4).Draw(rt, "version")
			if action == Registered {
				if v, err := r.Register(t.Context(), bundles[n-1], by); err != nil || v.Number != m.register(n-1) {
					rt.Fatalf("registered %d, %v", v.Number, err)
				}
				continue
			}
			_, err := decide[action](t.Context(), fmt.Sprint("@", n), "house-prices", Decision{By: by, Reason: "x"})
			if ok := m.decide(action, n); ok != (err == nil) {
				rt.Fatalf("%s %d: %v", action, n, err)
			}
			m.check(rt, r)
		}
		m.check(rt, openDir(t, dir))
	})
}
