package registry

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"millrace.dev/model"
)

// reference is what a text such as "house-prices@3" stands for: a number, or else an alias.
type reference struct {
	model  string
	number int
	alias  string
}

func parseRef(ref, defaultModel string) (reference, error) {
	name, which, ok := strings.Cut(ref, "@")
	if !ok {
		return reference{}, withHint(fmt.Errorf("%w: %.80q names no version", ErrInvalid, ref),
			fmt.Sprintf("write NAME@NUMBER, NAME@%s or NAME@%s", AliasChampion, AliasCandidate))
	}
	if name == "" {
		name = defaultModel
	}
	if err := model.CheckName(name); err != nil {
		return reference{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if which == AliasCandidate || which == AliasChampion {
		return reference{model: name, alias: which}, nil
	}
	n, err := strconv.Atoi(which)
	if err != nil || strconv.Itoa(n) != which || n < 1 {
		return reference{}, fmt.Errorf("%w: %.80q: what follows the @ is a number from 1, %s or %s", ErrInvalid, ref, AliasChampion, AliasCandidate)
	}
	return reference{model: name, number: n}, nil
}

// resolve returns the version that r stands for now.
func (s *state) resolve(r reference) (Version, error) {
	m := s.models[r.model]
	if m == nil {
		known := "the registry is empty"
		if names := s.names(); len(names) > 0 {
			known = "it has " + strings.Join(names[:min(len(names), 10)], ", ")
		}
		return Version{}, withHint(fmt.Errorf("%w: no model %s is registered; %s", ErrNotFound, r.model, known), "register one with millrace train")
	}
	n := r.number
	switch r.alias {
	case AliasChampion:
		if n = m.champion; n == 0 {
			return Version{}, withHint(m.noChampion(r.model), s.championHint(m))
		}
	case AliasCandidate:
		if n = m.candidate(); n == 0 {
			return Version{}, withHint(fmt.Errorf("%w: no version of %s waits for review", ErrNotFound, r.model), "register one with millrace train")
		}
	}
	if n > len(m.versions) {
		return Version{}, withHint(fmt.Errorf("%w: %s@%d: the last version of %s is %d", ErrNotFound, r.model, n, r.model, len(m.versions)), "see millrace model list")
	}
	return m.version(n), nil
}

// noChampion says that a model has no champion, and what its newest version lacks.
func (m *entry) noChampion(name string) error {
	err := fmt.Errorf("%w: %s has no champion", ErrNotApproved, name)
	v := m.versions[cmp.Or(m.candidate(), len(m.versions))-1]
	if v.State == StateCandidate && v.Wants != "" {
		err = fmt.Errorf("%w; %s: %s", err, v.Ref(), v.Wants)
		for _, i := range v.Ignored {
			err = fmt.Errorf("%w; %w", err, i.Err)
		}
	}
	return err
}

// championHint says how a model without a champion gets one.
func (s *state) championHint(m *entry) string {
	if n := m.candidate(); n > 0 {
		return m.versions[n-1].approveHint()
	}
	for _, v := range slices.Backward(m.versions) {
		if v.State == StateApproved {
			who := "--by NAME --reason TEXT"
			if s.root != nil {
				who = "--reason TEXT --key FILE"
			}
			return fmt.Sprintf("train a new version, or go back to %s: millrace model promote %s %s", v.Ref(), v.Ref(), who)
		}
	}
	return "train a new version"
}
