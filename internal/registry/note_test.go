package registry

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func note(t testing.TB, r *Registry, version int, n Note) error {
	t.Helper()
	return r.Note(t.Context(), "house-prices", version, n, Decision{By: "anna", Reason: "asked for"})
}

func mustNote(t testing.TB, r *Registry, version int, n Note) {
	t.Helper()
	if err := note(t, r, version, n); err != nil {
		t.Fatal(err)
	}
}

func mustModel(t testing.TB, r *Registry) Model {
	t.Helper()
	models, err := r.Models(t.Context())
	if err != nil || len(models) != 1 {
		t.Fatal(len(models), err)
	}
	return models[0]
}

// TestNotes keeps tags, descriptions and aliases apart, of the model and of each version, over another opening of the registry.
func TestNotes(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	before := mustModel(t, r)
	for _, n := range []struct {
		version int
		Note
	}{
		{0, Note{Kind: NoteTag, Key: "team", Value: "pricing"}},
		{0, Note{Kind: NoteDescription, Value: "What a house costs.\nIn dollars."}},
		{2, Note{Kind: NoteTag, Key: "team", Value: ""}},
		{2, Note{Kind: NoteTag, Key: "gone", Value: "soon"}},
		{2, Note{Kind: NoteTag, Key: "gone", Value: "soon"}}, // changes nothing, and writes nothing
		{2, Note{Kind: NoteTag, Key: "gone", Gone: true}},
		{2, Note{Kind: NoteTag, Key: "gone", Gone: true}},
		{2, Note{Kind: NoteDescription, Value: "more rows"}},
		{1, Note{Kind: NoteAlias, Key: "eu"}},
		{2, Note{Kind: NoteAlias, Key: "eu"}}, // it moves
		{2, Note{Kind: NoteAlias, Key: "us"}},
		{0, Note{Kind: NoteAlias, Key: "us", Gone: true}}, // from whichever has it
		{0, Note{Kind: NoteAlias, Key: "none", Gone: true}},
	} {
		mustNote(t, r, n.version, n.Note)
	}
	m := mustModel(t, openDir(t, r.Location()))
	v := m.Versions[1]
	if diff := cmp.Diff(Notes{Tags: map[string]string{"team": "pricing"}, Description: "What a house costs.\nIn dollars.", Updated: m.Notes.Updated}, m.Notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Notes{Tags: map[string]string{"team": ""}, Description: "more rows", Updated: v.Notes.Updated}, v.Notes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int{"eu": 2}, m.Aliases); diff != "" || m.Notes.Updated.IsZero() || v.Notes.Updated.IsZero() {
		t.Error(diff, m.Notes.Updated, v.Notes.Updated)
	}
	if before.Notes.Tags != nil || before.Versions[1].Notes.Tags != nil || before.Aliases != nil {
		t.Errorf("a model that was handed out has changed: %+v", before)
	}
	events, err := r.Log(t.Context())
	if err != nil || len(events) != 4+10 {
		t.Fatal(len(events), err)
	}
	for _, e := range events {
		if (e.Action == Noted) != (e.Format == noteFormat) {
			t.Errorf("event %d, %s, is of format %d", e.Seq, e.Action, e.Format)
		}
	}
	if e := events[4]; e.Ref() != "house-prices" || e.Actor != "anna" || e.Reason != "asked for" || e.Digest != noteDigest(e.Note) {
		t.Errorf("%+v", e)
	}
	if v, err := r.Resolve(t.Context(), "@champion", "house-prices"); err != nil || v.Number != 1 {
		t.Error(v, err)
	}
	mustVerify(t, r)
}

// TestNotesOfTheRejected takes the aliases of what is rejected away, and leaves the rest.
func TestNotesOfTheRejected(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	mustNote(t, r, 2, Note{Kind: NoteAlias, Key: "eu"})
	mustNote(t, r, 1, Note{Kind: NoteAlias, Key: "us"})
	mustReject(t, r, "@2")
	mustNote(t, r, 2, Note{Kind: NoteTag, Key: "why", Value: "leaks the label"})
	if err := note(t, r, 2, Note{Kind: NoteAlias, Key: "eu"}); !errors.Is(err, ErrRejected) {
		t.Error(err)
	}
	m := mustModel(t, openDir(t, r.Location()))
	if diff := cmp.Diff(map[string]int{"us": 1}, m.Aliases); diff != "" || m.Versions[1].Notes.Tags["why"] == "" {
		t.Error(diff, m.Versions[1].Notes)
	}
}

func TestNoteInvalid(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	for name, n := range map[string]Note{
		"no kind":           {Key: "a"},
		"no key":            {Kind: NoteTag, Value: "x"},
		"long key":          {Kind: NoteTag, Key: strings.Repeat("k", maxNoteKey+1)},
		"padded key":        {Kind: NoteTag, Key: " a"},
		"key of two lines":  {Kind: NoteTag, Key: "a\nb"},
		"escape codes":      {Kind: NoteTag, Key: "a", Value: "\x1b[2J"},
		"long value":        {Kind: NoteTag, Key: "a", Value: strings.Repeat("v", maxNoteValue+1)},
		"no UTF-8":          {Kind: NoteDescription, Value: "\xff"},
		"backwards":         {Kind: NoteDescription, Value: "a\u202eb"},
		"a key too many":    {Kind: NoteDescription, Key: "a", Value: "b"},
		"gone, and a value": {Kind: NoteTag, Key: "a", Value: "b", Gone: true},
		"alias of a value":  {Kind: NoteAlias, Key: "a", Value: "b"},
		"alias of nothing":  {Kind: NoteAlias},
		"a number":          {Kind: NoteAlias, Key: "12"},
		"MLflow's number":   {Kind: NoteAlias, Key: "V12"},
		"champion":          {Kind: NoteAlias, Key: "Champion"},
		"candidate":         {Kind: NoteAlias, Key: "candidate"},
		"challenger":        {Kind: NoteAlias, Key: "challenger"},
		"latest":            {Kind: NoteAlias, Key: "latest"},
		"a slash":           {Kind: NoteAlias, Key: "a/b"},
	} {
		if err := note(t, r, 1, n); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, version := range []int{-1, 0} {
		if err := note(t, r, version, Note{Kind: NoteAlias, Key: "eu"}); !errors.Is(err, ErrInvalid) {
			t.Error(version, err)
		}
	}
	for name, err := range map[string]error{
		"no version": note(t, r, 9, Note{Kind: NoteTag, Key: "a"}),
		"no model":   r.Note(t.Context(), "cars", 0, Note{Kind: NoteTag, Key: "a"}, Decision{By: "anna", Reason: "x"}),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Note(t.Context(), "house-prices", 0, Note{Kind: NoteTag, Key: "a"}, Decision{By: "anna"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if events, err := r.Log(t.Context()); err != nil || len(events) != 4 {
		t.Error(len(events), err)
	}
}

// TestNoteLimits has room for so many tags and aliases, and a value of the largest size fits an event.
func TestNoteLimits(t *testing.T) {
	t.Parallel()
	r := twoApproved(t)
	for i := range mostTags {
		mustNote(t, r, 1, Note{Kind: NoteTag, Key: fmt.Sprint("tag ", i), Value: "x"})
		mustNote(t, r, 1, Note{Kind: NoteAlias, Key: fmt.Sprint("alias-", i)})
	}
	for _, n := range []Note{{Kind: NoteTag, Key: "more"}, {Kind: NoteAlias, Key: "more"}} {
		if err := note(t, r, 1, n); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "cannot have more") {
			t.Error(err)
		}
	}
	mustNote(t, r, 1, Note{Kind: NoteTag, Key: "tag 0", Value: "changed"})
	mustNote(t, r, 0, Note{Kind: NoteDescription, Value: strings.Repeat("\n\"", maxNoteValue/2)})
	mustVerify(t, r)
	var b bytes.Buffer // the archive of a version does not fill up with what was noted of it
	if _, err := r.Export(t.Context(), "@1", "house-prices", &b); err != nil {
		t.Fatal(err)
	}
	other := openDir(t, t.TempDir())
	if v, err := other.Import(t.Context(), &b, "carl"); err != nil || len(v.Notes.Tags) != 0 {
		t.Error(v.Notes, err)
	}
}

// TestForgedNotes reads no log in which a note does not follow from what was before it.
func TestForgedNotes(t *testing.T) {
	t.Parallel()
	tag := Note{Kind: NoteTag, Key: "a", Value: "b"}
	for name, e := range map[string]Event{
		"earlier form":     {Format: 3, Version: 1, Note: &tag},
		"without one":      {Format: 4, Version: 1},
		"no such version":  {Format: 4, Version: 9, Note: &tag},
		"below zero":       {Format: 4, Version: -1, Note: &tag},
		"another's digest": {Format: 4, Version: 2, Note: &tag},
		"of the model":     {Format: 4, Version: 0, Note: &tag},
		"champion":         {Format: 4, Version: 1, Note: &Note{Kind: NoteAlias, Key: "champion"}},
		"nothing new":      {Format: 4, Version: 1, Note: &Note{Kind: NoteTag, Key: "a", Gone: true}},
		"no version":       {Format: 4, Version: 0, Note: &Note{Kind: NoteAlias, Key: "eu"}},
		"a trial's":        {Format: 4, Version: 1, Action: Approved, Note: &tag},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := twoApproved(t)
			format := e.Format
			e.Actor, e.Model, e.Reason, e.Digest = "eve", "house-prices", "x", r.state.models["house-prices"].versions[0].Digest
			if e.Action == "" {
				e.Action = Noted
			}
			e.placed(r.state, r.now())
			e.Format = format
			if err := r.store.addEvent(t.Context(), &e); err != nil {
				t.Fatal(err)
			}
			if _, err := openQuick(r.Location(), Options{Now: clock()}); !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
		})
	}
}

// TestSignedNotes counts what somebody in the root document has signed, and passes over the rest.
func TestSignedNotes(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	v := c.register("Bob", 1)
	c.must(Approved, "Anna", v.Ref())
	c.must(Approved, "Rita", v.Ref())
	tag := func(name string, version int) error {
		return c.as(name).Note(t.Context(), "house-prices", version, Note{Kind: NoteTag, Key: name, Value: "x"}, Decision{Reason: "asked for"})
	}
	for _, version := range []int{0, 1} {
		if err := tag("Bob", version); err != nil {
			t.Fatal(err)
		}
		if err := tag("Eve", version); !errors.Is(err, ErrUntrusted) {
			t.Error(err)
		}
	}
	m := mustModel(t, c.as("Dan"))
	if len(m.Notes.Tags) != 1 || len(m.Versions[0].Notes.Tags) != 1 || len(m.Versions[0].Ignored) != 0 {
		t.Errorf("%+v", m)
	}
	mustVerify(t, c.as("Dan"))

	// Someone who writes to the folder moves what is signed, and adds what is not.
	r := c.as("")
	for _, version := range []int{0, 1} {
		n := &Note{Kind: NoteTag, Key: "Bob", Value: "y"}
		i := slices.IndexFunc(r.state.events, func(e Event) bool { return e.Action == Noted && e.Version == version })
		e := r.state.events[i]
		e.Note = n
		if version == 0 {
			e.Digest = noteDigest(n)
		}
		e.placed(r.state, r.now())
		if err := r.store.addEvent(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
		r = c.as("")
	}
	m = mustModel(t, r)
	if m.Notes.Tags["Bob"] != "x" || m.Versions[0].Notes.Tags["Bob"] != "x" || len(m.Versions[0].Ignored) != 1 {
		t.Errorf("%+v", m)
	}
	if _, err := r.Verify(t.Context()); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "note house-prices by Bob, does not count") {
		t.Error(err)
	}
}
