package registry

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"millrace.dev/internal/trust"
	"pgregory.net/rapid"
)

// oracle is what the policy of newCompany makes of the events of one version, in a dozen lines.
type oracle struct {
	state     State
	approvals map[string]string // names to roles
}

// event applies an event that was signed with a key, and changed afterwards or not; it tells whether it counts.
func (o *oracle) event(e *Event, p *trust.Person, changed bool) bool {
	signed := p != nil && p.Name == e.Actor && !changed
	switch e.Action {
	case Approved:
		_, before := o.approvals[e.Actor]
		if !signed || before || !p.Has(e.Role) || (e.Role != "data-scientist" && e.Role != "risk") || e.Actor == "Dora" {
			return false
		}
		o.approvals[e.Actor] = e.Role
		if roles := slices.Collect(maps.Values(o.approvals)); slices.Contains(roles, "risk") && slices.Contains(roles, "data-scientist") {
			o.state = StateApproved
		}
	case Retired:
		o.state, o.approvals = StateRetired, map[string]string{}
	case Promoted:
		return signed && p.Has(trust.RoleDeployer) && o.state == StateApproved
	case Registered, Rejected, RolledBack, RootSet, Purged, Tried, Noted:
	}
	return signed
}

// TestSignedRules writes random events, signed by anybody in any name, changed or not, and compares what the registry makes of
// them with the oracle. Dora has registered both versions.
func TestSignedRules(t *testing.T) {
	t.Parallel()
	c := newCompany(t)
	keys := []string{"", "Anna", "Anna's other", "Bob", "Dora", "Rita", "Dan", "Eve"}
	c.key("Eve")
	rapid.Check(t, func(rt *rapid.T) {
		s := newState(c.root) // without a folder: a thousand logs would have to reach the disk
		add := func(key string, e Event, change func(*Event)) {
			e.placed(s, c.now())
			if key != "" {
				var err error
				if e.Envelope, err = e.claim().Sign(c.key(key)); err != nil {
					rt.Fatal(err)
				}
			}
			if change != nil {
				change(&e)
			}
			if _, err := e.encode(); err != nil { // which sets the sum
				rt.Fatal(err)
			}
			if err := s.apply(&e); err != nil {
				rt.Fatal(err)
			}
		}
		digest := "sha256:" + strings.Repeat("0", 64)
		add("", *rootEvent(c.root, "Dora"), nil)
		for i := range 2 {
			add("Dora", Event{Actor: "Dora", Action: Registered, Model: "house-prices", Version: i + 1, Digest: digest, Bytes: 1}, nil)
		}
		versions := []*oracle{{StateCandidate, map[string]string{}}, {StateCandidate, map[string]string{}}}
		champion, ignored := 0, 0
		for range rapid.IntRange(1, 25).Draw(rt, "events") {
			key := rapid.SampledFrom(keys).Draw(rt, "key")
			var p *trust.Person
			if key != "" {
				p = c.root.Person(c.key(key).Public().ID())
			}
			actor := rapid.SampledFrom([]string{"Anna", "Rita", "Dan", "Dora", "Eve"}).Draw(rt, "actor")
			if p != nil && rapid.IntRange(0, 3).Draw(rt, "honest") > 0 {
				actor = p.Name
			}
			e := Event{
				Actor: actor, Action: rapid.SampledFrom([]Action{Approved, Approved, Approved, Approved, Promoted, Promoted, Retired}).Draw(rt, "action"),
				Model: "house-prices", Digest: digest, Version: rapid.IntRange(1, 2).Draw(rt, "version"), Reason: "r",
			}
			if e.Action == Approved {
				e.Role = rapid.SampledFrom([]string{"data-scientist", "risk", "author"}).Draw(rt, "role")
			}
			changed := rapid.IntRange(0, 5).Draw(rt, "changed") == 0
			add(key, e, func(e *Event) {
				if changed {
					e.Reason = "another"
				}
			})
			counts := versions[e.Version-1].event(&e, p, changed)
			if !counts {
				ignored++
			}
			switch {
			case e.Action == Promoted && counts:
				champion = e.Version
			case e.Action == Retired && champion == e.Version:
				champion = 0
			}
		}
		list := s.list()
		for i, v := range list {
			want := versions[i]
			if v.State != want.state || !maps.Equal(given(v.Approvals), want.approvals) || slices.Contains(v.Aliases, AliasChampion) != (champion == i+1) {
				rt.Fatalf("%s is %s, approved by %v, %v; want %s, %v, champion %d", v.Ref(), v.State, given(v.Approvals), v.Aliases, want.state, want.approvals, champion)
			}
			if (v.CheckApproved() == nil) != (want.state == StateApproved) {
				rt.Fatal(v.CheckApproved())
			}
			ignored -= len(v.Ignored)
		}
		if ignored != 0 {
			rt.Fatalf("%d events more are ignored than said", ignored)
		}
		if _, err := s.signatures(); (err == nil) != (len(list[0].Ignored)+len(list[1].Ignored) == 0) {
			rt.Fatal(err)
		}
	})
}
