package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/model"
)

// Note is what an event puts beside a model or a version, or takes away. Notes are for people and for other programs: they decide nothing,
// and no version runs because of one.
type Note struct {
	Kind NoteKind `json:"kind"`
	// Key is the key of a tag, or the alias; "" of a description.
	Key string `json:"key,omitempty"`
	// Value is that of a tag, or the description; it may be empty, and have several lines.
	Value string `json:"value,omitempty"`
	// Gone tells that the tag or the alias is taken away.
	Gone bool `json:"gone,omitempty"`
}

// NoteKind is what a note is.
type NoteKind string

// The kinds.
const (
	NoteTag         NoteKind = "tag"
	NoteDescription NoteKind = "description"
	NoteAlias       NoteKind = "alias" // another name of a version; of those that millrace derives none
)

const (
	mostTags     = 100  // of a model, and of a version
	mostAliases  = 100  // of a model
	maxNoteKey   = 250  // bytes
	maxAlias     = 100  // bytes
	maxNoteValue = 8000 // bytes
)

// AliasChallenger stands for the version that a trial lets predict a share of the records; it is derived, like the others.
const AliasChallenger = "challenger"

// Notes are what notes add up to.
type Notes struct {
	Tags        map[string]string
	Description string
	Updated     time.Time // of the last note; zero is none
}

// Model is a model with all its versions.
type Model struct {
	Name     string
	Notes    Notes
	Aliases  map[string]int // versions by alias, those that were noted alone
	Versions []Version      // by number
}

// Models returns all models, by name. An error is as of [Registry.List].
func (r *Registry) Models(ctx context.Context) (models []Model, err error) {
	err = r.view(ctx, func(s *state) error {
		for _, name := range s.names() {
			e := s.models[name]
			m := Model{Name: name, Notes: e.notes, Aliases: e.aliases, Versions: make([]Version, len(e.versions))}
			for i := range m.Versions {
				m.Versions[i] = e.version(i + 1)
			}
			models = append(models, m)
		}
		return nil
	})
	return models, err
}

// Note puts a note beside a version, or beside the model itself where version is 0; an alias always stands for a version, and is taken away
// from whichever has it. A rejected version has no alias, and what is noted already is not written again. In a registry with a root
// everybody in the document may; what nobody has signed does not count. An error matches [ErrNotFound], [ErrRejected], [ErrInvalid],
// [ErrUntrusted], [ErrCorrupt] or [ErrNewer], or is one of the file system.
func (r *Registry) Note(ctx context.Context, name string, version int, n Note, d Decision) error {
	by, err1 := r.name("name of who notes it", d.By)
	reason, err2 := cleanText("reason", d.Reason, maxReason)
	if version < 0 || version == 0 && n.Kind == NoteAlias && !n.Gone {
		err1 = fmt.Errorf("%w: there is no version %d", ErrInvalid, version)
	}
	if err := errors.Join(n.check(), err1, err2); err != nil {
		return fmt.Errorf("registry: note of %s: %w", name, err)
	}
	key, err := r.signer()
	if err != nil {
		return err
	}
	return r.add(ctx, key, func(s *state) (*Event, error) {
		actor, err := s.actor(by, key)
		if err != nil {
			return nil, err
		}
		if _, err := s.resolve(reference{model: name, number: max(version, 1)}); err != nil {
			return nil, err
		}
		m, e := s.models[name], &Event{Actor: actor, Action: Noted, Model: name, Version: version, Reason: reason, Note: &n}
		if n.Kind == NoteAlias && n.Gone {
			if e.Version = m.aliases[n.Key]; e.Version == 0 {
				return nil, nil // nobody has it
			}
		}
		if news, err := m.admitNote(e); err != nil || !news {
			return nil, err
		}
		e.Digest = noteDigest(&n)
		if e.Version > 0 {
			e.Digest = m.versions[e.Version-1].Digest
		}
		return e, nil
	})
}

// check returns what is wrong with a note.
func (n *Note) check() error {
	limit := maxNoteKey
	switch n.Kind {
	case NoteTag:
	case NoteDescription:
		if n.Key != "" || n.Gone {
			return fmt.Errorf("%w: a description has no key, and is taken away by an empty one", ErrInvalid)
		}
		return checkValue(n.Value)
	case NoteAlias:
		if limit = maxAlias; n.Value != "" {
			return fmt.Errorf("%w: an alias has no value", ErrInvalid)
		}
		if err := checkAlias(n.Key); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: a note of the kind %.40q", ErrInvalid, n.Kind)
	}
	if !isClean(n.Key, limit) {
		return fmt.Errorf("%w: the key of a %s is one line of 1 to %d bytes of plain text, without white space around it", ErrInvalid, n.Kind, limit)
	}
	if n.Gone && n.Value != "" {
		return fmt.Errorf("%w: a %s that is taken away has no value", ErrInvalid, n.Kind)
	}
	return checkValue(n.Value)
}

// checkAlias wants an alias that is not taken for something else: a number, a version as MLflow writes it, or one that is derived.
func checkAlias(alias string) error {
	for _, c := range []byte(alias) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return fmt.Errorf("%w: an alias is made of letters, digits, hyphens and underscores", ErrInvalid)
		}
	}
	lower := strings.ToLower(alias)
	if slices.Contains([]string{AliasCandidate, AliasChampion, AliasChallenger, "latest"}, lower) {
		return fmt.Errorf("%w: the alias %s says where a version is in its life, and is not set by hand", ErrInvalid, lower)
	}
	if alias == "" || strings.Trim(strings.TrimPrefix(lower, "v"), "0123456789") == "" {
		return fmt.Errorf("%w: the alias %q looks like the number of a version", ErrInvalid, alias)
	}
	return nil
}

// checkValue wants text that can be shown, of as many lines as it likes.
func checkValue(text string) error {
	if len(text) > maxNoteValue || !utf8.ValidString(text) {
		return fmt.Errorf("%w: the text has %d bytes, of at most %d of UTF-8", ErrInvalid, len(text), maxNoteValue)
	}
	for _, c := range text {
		const nonJoiner, joiner = '\u200c', '\u200d' // some scripts need them
		if !unicode.IsGraphic(c) && !strings.ContainsRune("\n\r\t", c) && c != nonJoiner && c != joiner {
			return fmt.Errorf("%w: the text holds the character %U", ErrInvalid, c)
		}
	}
	return nil
}

// checkNote returns what is wrong with the note of an event.
func checkNote(e *Event) error {
	if (e.Action == Noted) != (e.Note != nil) {
		return fmt.Errorf("%w: a note has no place in %s", ErrInvalid, e.Action)
	}
	if e.Note == nil {
		return nil
	}
	if e.Note.Kind == NoteAlias && e.Version == 0 {
		return fmt.Errorf("%w: an alias that stands for no version", ErrInvalid)
	}
	return e.Note.check()
}

// noteDigest returns what stands for a note in a signature, and as the digest of an event that is about no version: the SHA-256 of its
// JSON, or "" for none.
func noteDigest(n *Note) string {
	if n == nil {
		return ""
	}
	text, err := json.Marshal(n)
	if err != nil {
		panic("registry: " + err.Error()) // it is made of text
	}
	return model.Digest(text)
}

// note applies an event that notes something.
func (s *state) note(e *Event) error {
	m := s.models[e.Model]
	if m == nil || e.Version < 0 || e.Version > len(m.versions) || !isClean(e.Reason, maxReason) {
		return fmt.Errorf("%w: it notes something of %s, which is not registered", ErrCorrupt, e.Ref())
	}
	var v *registered
	digest := noteDigest(e.Note)
	if e.Version > 0 {
		v = m.versions[e.Version-1]
		digest = v.Digest
	}
	if e.Digest != digest {
		return fmt.Errorf("%w: it does not fit %s", ErrCorrupt, e.Ref())
	}
	if err := s.vet(e, v); err != nil {
		if v != nil {
			_ = v.ignore(e, err) // it is passed over, and named where the version is shown
		}
		return nil
	}
	if news, err := m.admitNote(e); err != nil || !news {
		if s.lenient() {
			return nil // who has registered what decides too, and that may have changed
		}
		return fmt.Errorf("%w: it notes what was so before, or could not be", ErrCorrupt)
	}
	m.take(e)
	return nil
}

// admitNote tells whether an event notes something new, or why it cannot.
func (m *entry) admitNote(e *Event) (news bool, err error) {
	n, of := e.Note, &m.notes
	if e.Version > 0 {
		of = &m.versions[e.Version-1].Notes
	}
	switch n.Kind {
	case NoteDescription:
		return of.Description != n.Value, nil
	case NoteTag:
		value, has := of.Tags[n.Key]
		switch {
		case n.Gone:
			return has, nil
		case !has && len(of.Tags) >= mostTags:
			return false, fmt.Errorf("%w: it has %d tags, and cannot have more", ErrInvalid, len(of.Tags))
		}
		return !has || value != n.Value, nil
	case NoteAlias:
	}
	at, has := m.aliases[n.Key]
	switch v := m.versions[e.Version-1]; {
	case n.Gone:
		return at == e.Version, nil
	case v.State == StateRejected:
		return false, fmt.Errorf("%s: %w, by %s (%s): it can have no alias", v.Ref(), ErrRejected, v.DecidedBy, v.Reason)
	case !has && len(m.aliases) >= mostAliases:
		return false, fmt.Errorf("%w: the model has %d aliases, and cannot have more", ErrInvalid, len(m.aliases))
	}
	return at != e.Version, nil
}

// take changes the notes of a model or a version. Those that were handed out stay as they are.
func (m *entry) take(e *Event) {
	n := e.Note
	if n.Kind == NoteAlias {
		m.aliases = with(m.aliases, n.Key, e.Version, n.Gone)
		m.notes.Updated = e.Time
		return
	}
	of := &m.notes
	if e.Version > 0 {
		of = &m.versions[e.Version-1].Notes
	}
	of.Updated = e.Time
	if n.Kind == NoteDescription {
		of.Description = n.Value
		return
	}
	of.Tags = with(of.Tags, n.Key, n.Value, n.Gone)
}

// with returns a copy of m in which key has a value, or is gone.
func with[V any](m map[string]V, key string, value V, gone bool) map[string]V {
	c := maps.Clone(m)
	if c == nil {
		c = map[string]V{}
	}
	if c[key] = value; gone {
		delete(c, key)
	}
	return c
}

// unname takes the aliases away that stand for version number n: nobody is to fetch by a name what was rejected.
func (m *entry) unname(n int) {
	for alias, at := range m.aliases {
		if at == n {
			m.aliases = with(m.aliases, alias, 0, true)
		}
	}
}
