package kafka

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// cheapest returns the lowest cost of any quotas, by trying all.
func cheapest(classes []class, sets, members int) cost {
	s := newShares(classes, sets, members)
	best, found := cost{}, false
	var try func(k, m, rest int, sum cost)
	try = func(k, m, rest int, sum cost) {
		switch {
		case k == len(classes):
			if !found || sum.less(best) {
				best, found = sum, true
			}
		case m == members:
			if rest == 0 {
				next := 0
				if k+1 < len(classes) {
					next = classes[k+1].tasks
				}
				try(k+1, 0, next, sum)
			}
		default:
			n, c, set := 0, sum, classes[k].set
			for {
				try(k, m+1, rest-n, c)
				if n == rest || classes[k].unread[m] == never {
					break
				}
				c = c.plus(s.give(k, m)).plus(s.fill(set, m)).plus(s.load(m))
				s.add(k, m, 1)
				n++
			}
			s.add(k, m, -n)
		}
	}
	try(0, 0, classes[0].tasks, cost{})
	return best
}

func price(classes []class, quota [][]int, sets, members int) cost {
	s := newShares(classes, sets, members)
	sum := cost{}
	for k := range quota {
		for m, n := range quota[k] {
			for range n {
				sum = sum.plus(s.give(k, m)).plus(s.fill(classes[k].set, m)).plus(s.load(m))
				s.add(k, m, 1)
			}
		}
	}
	return sum
}

func TestShareIsCheapest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members, sets := rapid.IntRange(1, 4).Draw(t, "members"), rapid.IntRange(1, 3).Draw(t, "sets")
		classes := make([]class, rapid.IntRange(1, 3).Draw(t, "classes"))
		for k := range classes {
			c := class{set: rapid.IntRange(0, sets-1).Draw(t, "set"), tasks: rapid.IntRange(0, 5).Draw(t, "tasks"), owned: make([]int, members), unread: make([]int, members)}
			sure, rest := rapid.IntRange(0, members-1).Draw(t, "sure"), c.tasks
			for m := range members {
				if c.unread[m] = rapid.IntRange(never, 2).Draw(t, "unread"); m == sure {
					c.unread[m] = max(0, c.unread[m])
				}
				if c.unread[m] != never {
					c.owned[m] = rapid.IntRange(0, rest).Draw(t, "owned")
					rest -= c.owned[m]
				}
			}
			classes[k] = c
		}
		quota := share(classes, sets, members)
		for k, c := range classes {
			n := 0
			for m, q := range quota[k] {
				if n += q; q < 0 || q > 0 && c.unread[m] == never {
					t.Fatalf("class %d: %d for member %d", k, q, m)
				}
			}
			if n != c.tasks {
				t.Fatalf("class %d: %d of %d tasks", k, n, c.tasks)
			}
		}
		if got, want := price(classes, quota, sets, members), cheapest(classes, sets, members); got != want {
			t.Fatalf("cost %v of %v, want %v", got, quota, want)
		}
	})
}

// cooperative is a group of members of a pure kind: they do what an assignment says at once.
type cooperative struct {
	counts     map[string]int32
	members    []*cooperator
	generation int32
	moved      int // partitions that came to a member, since reset
}

type cooperator struct {
	id     string
	topics []string
	sets   [][]string
	owned  map[string][]int32
	joined int32 // generation that owned is of
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// join returns the leader's assignment of one round.
func (g *cooperative) assign(t failer) map[string]map[string][]int32 {
	t.Helper()
	members := make([]kmsg.JoinGroupResponseMember, len(g.members))
	for i, m := range g.members {
		topics := slices.Sorted(slices.Values(m.topics))
		members[i] = kmsg.JoinGroupResponseMember{MemberID: m.id, ProtocolMetadata: newBalancer(m.sets, "").JoinGroupMetadata(topics, m.owned, m.joined)}
	}
	slices.SortFunc(members, func(a, b kmsg.JoinGroupResponseMember) int { return strings.Compare(a.MemberID, b.MemberID) })
	var first []kmsg.SyncGroupRequestGroupAssignment
	for range 2 { // with the same result
		b, topics, err := newBalancer(nil, "").MemberBalancer(slices.Clone(members))
		if err != nil {
			t.Fatalf("%v", err)
		}
		counts := map[string]int32{}
		for topic := range topics {
			if n, ok := g.counts[topic]; ok {
				counts[topic] = n
			}
		}
		into, err := balance(b, counts)
		if err != nil {
			t.Fatalf("%v", err)
		}
		plan := into.IntoSyncAssignment()
		if first == nil {
			first = plan
		}
		if !reflect.DeepEqual(first, plan) {
			t.Fatalf("another plan for the same members: %v, %v", first, plan)
		}
	}
	plan := map[string]map[string][]int32{}
	for _, a := range first {
		m, err := newBalancer(nil, "").ParseSyncAssignment(a.MemberAssignment)
		if err != nil {
			t.Fatalf("%v", err)
		}
		plan[a.MemberID] = m
	}
	return plan
}

// balance does as the library does.
func balance(b kgo.GroupMemberBalancer, counts map[string]int32) (kgo.IntoSyncAssignment, error) {
	orError, ok := b.(kgo.GroupMemberBalancerOrError)
	if !ok {
		return nil, fmt.Errorf("%T cannot fail", b)
	}
	return orError.BalanceOrError(counts)
}

// settle lets the group balance until nobody has to give anything away, and checks each assignment.
func (g *cooperative) settle(t failer) {
	t.Helper()
	for round := range 4 {
		plan := g.assign(t)
		g.check(t, plan)
		g.generation++
		again := false
		for _, m := range g.members {
			now := plan[m.id]
			for topic, ps := range m.owned {
				for _, p := range ps {
					again = again || !slices.Contains(now[topic], p)
				}
			}
			for topic, ps := range now {
				for _, p := range ps {
					if !slices.Contains(m.owned[topic], p) {
						g.moved++
					}
				}
			}
			m.owned, m.joined = now, g.generation
		}
		if !again {
			return
		}
		if round > 2 {
			t.Fatalf("no end: %v", plan)
		}
	}
}

// check holds an assignment against what always has to be true.
func (g *cooperative) check(t failer, plan map[string]map[string][]int32) {
	t.Helper()
	owner := map[string]string{}
	for id, topics := range plan {
		i := slices.IndexFunc(g.members, func(m *cooperator) bool { return m.id == id })
		for topic, ps := range topics {
			if !slices.Contains(g.members[i].topics, topic) {
				t.Fatalf("%s gets topic %s, which it does not read", id, topic)
			}
			for _, p := range ps {
				key := fmt.Sprint(topic, "/", p)
				if other := owner[key]; other != "" || p >= g.counts[topic] {
					t.Fatalf("%s is for %s and %s", key, other, id)
				}
				owner[key] = id
			}
		}
	}
	for _, m := range g.members { // nobody gets what another member has not given away
		for topic, ps := range m.owned {
			for _, p := range ps {
				if id := owner[fmt.Sprint(topic, "/", p)]; id != "" && id != m.id {
					i := slices.IndexFunc(g.members, func(o *cooperator) bool { return o.id == id })
					if o := g.members[i]; !slices.Contains(o.owned[topic], p) || o.joined < m.joined {
						t.Fatalf("%s/%d is for %s, and %s has it", topic, p, id, m.id)
					}
				}
			}
		}
	}
	for _, m := range g.members {
		for _, set := range m.sets {
			for p := range int32(20) {
				ids := map[string]bool{}
				for _, topic := range set {
					if id := owner[fmt.Sprint(topic, "/", p)]; id != "" {
						ids[id] = true
					}
				}
				if len(ids) > 1 {
					t.Fatalf("partition %d of %v is with %v", p, set, slices.Sorted(maps.Keys(ids)))
				}
			}
		}
	}
}

// loads returns how many tasks each member has of a set, given by its topic with the most partitions.
func (g *cooperative) loads(topics ...string) []int {
	var loads []int
	for _, m := range g.members {
		n := 0
		for _, t := range topics {
			n += len(m.owned[t])
		}
		loads = append(loads, n)
	}
	return loads
}

func even(t failer, what string, loads []int) {
	t.Helper()
	if slices.Max(loads)-slices.Min(loads) > 1 {
		t.Fatalf("%s: %v", what, loads)
	}
}

// TestBalancer lets a group grow and shrink.
func TestBalancer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		counts map[string]int32
		sets   [][]string
		heads  []string // of each set, the topic with the most partitions
	}{
		"one topic":         {map[string]int32{"a": 12}, nil, []string{"a"}},
		"three topics":      {map[string]int32{"a": 7, "b": 8, "c": 1}, nil, []string{"a", "b", "c"}},
		"one pair":          {map[string]int32{"a": 12, "b": 12}, [][]string{{"a", "b"}}, []string{"a"}},
		"pair and others":   {map[string]int32{"a": 6, "b": 6, "c": 6, "d": 10}, [][]string{{"b", "a"}}, []string{"a", "c", "d"}},
		"unequal counts":    {map[string]int32{"a": 3, "b": 9, "c": 5}, [][]string{{"a", "b", "c"}}, []string{"b"}},
		"overlapping":       {map[string]int32{"a": 8, "b": 8, "c": 8, "d": 8}, [][]string{{"a", "b"}, {"c", "b"}}, []string{"a", "d"}},
		"no such topic yet": {map[string]int32{"a": 8}, [][]string{{"a", "z"}}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &cooperative{counts: c.counts}
			topics := append(slices.Collect(maps.Keys(c.counts)), "z")
			tasks := 0
			for _, h := range c.heads {
				tasks += int(c.counts[h])
			}
			join := func(i int) {
				g.members = append(g.members, &cooperator{id: fmt.Sprintf("m%02d", i), topics: topics, sets: c.sets, joined: -1})
			}
			settled := func() {
				t.Helper()
				g.moved = 0
				g.settle(t)
				for _, h := range c.heads {
					even(t, h, g.loads(h))
				}
				even(t, "all", g.loads(c.heads...))
				for topic, n := range c.counts {
					if got := g.loads(topic); sum(got) != int(n) {
						t.Fatalf("topic %s: %v", topic, got)
					}
				}
			}
			for i := range 5 {
				join(i)
				settled()
				if most := (tasks + i) / (i + 1) * 3; g.moved > most { // each task has at most three topics
					t.Errorf("%d partitions moved to the new one of %d members", g.moved, i+1)
				}
			}
			settled()
			if g.moved > 0 {
				t.Errorf("%d partitions moved for nothing", g.moved)
			}
			for len(g.members) > 1 {
				gone := g.members[1]
				g.members = slices.Delete(g.members, 1, 2)
				settled()
				n := 0
				for _, ps := range gone.owned {
					n += len(ps)
				}
				if len(c.counts) == 1 && g.moved != n {
					t.Errorf("%d partitions moved when a member with %d left", g.moved, n)
				}
			}
		})
	}
}

func sum(ns []int) (n int) {
	for _, x := range ns {
		n += x
	}
	return n
}

// TestBalancerFewMoves holds the numbers of moves against the least possible.
func TestBalancerFewMoves(t *testing.T) {
	t.Parallel()
	g := &cooperative{counts: map[string]int32{"a": 60, "b": 60, "c": 60, "d": 60}}
	sets := [][]string{{"a", "b"}, {"c", "d"}}
	for i := range 5 {
		g.members = append(g.members, &cooperator{id: fmt.Sprint("m", i), topics: []string{"a", "b", "c", "d"}, sets: sets, joined: -1})
	}
	g.settle(t)
	g.members = append(g.members, &cooperator{id: "new", topics: []string{"a", "b", "c", "d"}, sets: sets, joined: -1})
	g.moved = 0
	g.settle(t)
	if g.moved != 2*20 { // 10 tasks of each set, two topics each
		t.Errorf("%d partitions moved to the new member", g.moved)
	}
	g.members = g.members[1:]
	g.moved = 0
	g.settle(t)
	if g.moved != 2*20 {
		t.Errorf("%d partitions moved from the one that left", g.moved)
	}
}

// TestBalancerUpgrade replaces members by ones that read other topics.
func TestBalancerUpgrade(t *testing.T) {
	t.Parallel()
	g := &cooperative{counts: map[string]int32{"a": 9, "b": 9}}
	older := cooperator{topics: []string{"a"}, joined: -1}
	newer := cooperator{topics: []string{"a", "b"}, sets: [][]string{{"a", "b"}}, joined: -1}
	for i := range 3 {
		m := older
		m.id = fmt.Sprint("old", i)
		g.members = append(g.members, &m)
	}
	g.settle(t)
	for i := range 3 {
		m := newer
		m.id = fmt.Sprint("new", i)
		g.members[i] = &m
		g.settle(t)
		even(t, "a while members differ", g.loads("a"))
		if n := sum(g.loads("a")); n != 9 {
			t.Errorf("%d partitions of a after %d upgrades", n, i+1)
		}
		// A task that an old member has goes on there; what that does not read waits for its own upgrade.
		if diff := cmp.Diff(g.loads("a")[:i+1], g.loads("b")[:i+1]); diff != "" {
			t.Error(diff)
		}
	}
	if n := sum(g.loads("b")); n != 9 {
		t.Errorf("%d partitions of b in the end", n)
	}
}

// TestBalancerZombie lets a member come back that has missed rebalances.
func TestBalancerZombie(t *testing.T) {
	t.Parallel()
	g := &cooperative{counts: map[string]int32{"a": 4, "b": 4}}
	topics, sets := []string{"a", "b"}, [][]string{{"a", "b"}}
	zombie := &cooperator{id: "zombie", topics: topics, sets: sets, joined: -1}
	g.members = []*cooperator{zombie, {id: "other", topics: topics, sets: sets, joined: -1}}
	g.settle(t)
	g.members = g.members[1:]
	g.settle(t)
	g.members = append(g.members, zombie) // claims what the other one has by now
	plan := g.assign(t)
	g.check(t, plan)
	if diff := cmp.Diff(map[string][]int32{}, plan["zombie"]); diff != "" {
		t.Errorf("the zombie keeps partitions: %s", diff)
	}
	g.settle(t)
	even(t, "a", g.loads("a"))
	if n := sum(g.loads("a")); n != 4 {
		t.Errorf("%d partitions of a", n)
	}
}

// TestBalancerSplit begins with a task whose parts are with different members, as a former version left them.
func TestBalancerSplit(t *testing.T) {
	t.Parallel()
	topics, sets := []string{"a", "b"}, [][]string{{"a", "b"}}
	g := &cooperative{counts: map[string]int32{"a": 2, "b": 2}, generation: 3, members: []*cooperator{
		{id: "m0", topics: topics, sets: sets, owned: map[string][]int32{"a": {0, 1}}, joined: 3},
		{id: "m1", topics: topics, sets: sets, owned: map[string][]int32{"b": {0, 1}}, joined: 3},
	}}
	g.settle(t)
	if diff := cmp.Diff([]int{1, 1}, g.loads("a")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(g.members[0].owned["a"], g.members[0].owned["b"]); diff != "" {
		t.Error(diff)
	}
}

// TestBalancerChaos lets members come, go, miss rebalances and be replaced, and topics grow, at random.
func TestBalancerChaos(t *testing.T) {
	t.Parallel()
	versions := []cooperator{
		{topics: []string{"a", "b", "c"}, sets: [][]string{{"a", "b"}}},
		{topics: []string{"a", "b", "c", "d"}, sets: [][]string{{"a", "b"}, {"c", "d"}}},
		{topics: []string{"b", "c", "e"}, sets: [][]string{{"b", "e"}}},
	}
	rapid.Check(t, func(t *rapid.T) {
		g := &cooperative{counts: map[string]int32{"a": 6, "b": 6, "c": 4, "d": 5}}
		n := 0
		fresh := func() *cooperator {
			m := versions[rapid.IntRange(0, len(versions)-1).Draw(t, "version")]
			n++
			m.id, m.joined = fmt.Sprintf("m%03d", n), -1
			return &m
		}
		g.members = []*cooperator{fresh()}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			i := rapid.IntRange(0, len(g.members)-1).Draw(t, "member")
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				if len(g.members) < 6 {
					g.members = append(g.members, fresh())
				}
			case 2:
				if len(g.members) > 1 {
					g.members = slices.Delete(g.members, i, i+1)
				}
			case 3:
				g.members[i] = fresh()
			case 4: // misses rebalances
				if len(g.members) > 1 {
					away := g.members[i]
					g.members = slices.Delete(g.members, i, i+1)
					g.settle(t)
					g.members = append(g.members, away)
				}
			case 5:
				topic := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "topic")
				g.counts[topic] += 2
			}
			g.settle(t)
		}
	})
}

func TestBalancerRefusesNonsense(t *testing.T) {
	t.Parallel()
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Topics, meta.UserData = []string{"a"}, []byte("no json")
	b, _, err := newBalancer(nil, "").MemberBalancer([]kmsg.JoinGroupResponseMember{{MemberID: "m", ProtocolMetadata: meta.AppendTo(nil)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := balance(b, map[string]int32{"a": 1}); err == nil {
		t.Error("user data that says nothing is taken")
	}
}

// TestAddressIn reads the address from what members tell: of other versions, of other programs, and anything.
func TestAddressIn(t *testing.T) {
	t.Parallel()
	const address = "http://10.1.2.3:8090"
	told := func(sets [][]string, address string) string {
		var meta kmsg.ConsumerMemberMetadata
		if err := meta.ReadFrom(newBalancer(sets, address).JoinGroupMetadata([]string{"a"}, nil, 1)); err != nil {
			t.Fatal(err)
		}
		return string(meta.UserData)
	}
	for data, want := range map[string]string{
		told(nil, address):                    address,
		told([][]string{{"a", "b"}}, address): address,
		told([][]string{{"a", "b"}}, ""):      "", // as the version before
		told(nil, ""):                         "",
		`{"address":"x","later":[1]}`:         "x",
		`{"address":5}`:                       "",
		`[]`:                                  "",
		"\x00\x01\xff":                        "",
		strings.Repeat("[", 100_000):          "",
		`{"address":"` + strings.Repeat("x", MaxAddress) + `"}`:             strings.Repeat("x", MaxAddress),
		`{"address":"` + strings.Repeat("x", MaxAddress+1) + `"}`:           "",
		`{"address":"x","more":"` + strings.Repeat("x", maxUserData) + `"}`: "",
	} {
		if got := addressIn([]byte(data)); got != want {
			t.Errorf("%.80q: got %.80q, want %.80q", data, got, want)
		}
	}
}

// TestBalancerMixedVersions shares out to members of which some tell an address, some tell one that is none, and some are of a
// version that knows of none.
func TestBalancerMixedVersions(t *testing.T) {
	t.Parallel()
	var members []kmsg.JoinGroupResponseMember
	for i, data := range []string{`{"copartitioned":[["a","b"]]}`, `{"copartitioned":[["a","b"]],"address":"http://x"}`, `{"copartitioned":null,"address":5}`} {
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Topics, meta.UserData = []string{"a", "b"}, []byte(data)
		members = append(members, kmsg.JoinGroupResponseMember{MemberID: strconv.Itoa(i), ProtocolMetadata: meta.AppendTo(nil)})
	}
	b, _, err := newBalancer(nil, "").MemberBalancer(members)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := balance(b, map[string]int32{"a": 3, "b": 3}); err != nil {
		t.Error(err)
	}
}

func FuzzAddressIn(f *testing.F) {
	f.Add([]byte(`{"copartitioned":[["a","b"]],"address":"http://10.1.2.3:8090"}`))
	f.Add([]byte("{\"address\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := addressIn(data); len(got) > MaxAddress {
			t.Errorf("%d bytes", len(got))
		}
	})
}

func BenchmarkBalance(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	const members, sets, partitions = 50, 10, 100
	classes := make([]class, sets)
	for k := range classes {
		classes[k] = class{set: k, tasks: partitions, owned: make([]int, members), unread: make([]int, members)}
		for range partitions {
			classes[k].owned[rng.IntN(members-1)]++ // the last member is new, and the others are uneven
		}
	}
	for b.Loop() {
		share(classes, sets, members)
	}
}
