package kafka

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// protocol is the name under which the members of a group agree on the balancer.
const protocol = "millrace-cooperative-sticky"

// balancer shares the partitions out to the members of a group, in tasks: a task is the partitions of one number of
// topics that belong together. The leader of the group runs it for all. Each member tells the leader what it owns, in
// the way of the library's cooperative balancer, and which topics it believes to belong together.
//
// The wishes, the first before the others: all members have equally many tasks; the tasks of each set of topics are
// spread evenly; a task is with a member that reads all of its topics; a task stays where it is. See [share].
//
// A task moves in two steps, as is the way of cooperative balancing: whoever has it loses it in the first assignment,
// and gives the sign for a second one, in which it is free. The task moves as a whole, so that no two members ever
// have parts of it.
type balancer struct {
	kgo.GroupBalancer            // the library's, for what is the same
	sets              [][]string // of topics that belong together
	address           string     // of this member, for whoever describes the group
}

// balancers returns what a session offers to the group. Without sets of topics the library's balancer will do until
// all members know the other: members of earlier versions know nothing else.
func balancers(sets [][]string, address string, assigned func(Partitions)) []kgo.GroupBalancer {
	library := kgo.CooperativeStickyBalancer()
	all := []kgo.GroupBalancer{heard{newBalancer(sets, address), assigned}}
	if len(sets) == 0 {
		all = append(all, heard{library, assigned})
	}
	return all
}

// heard is a balancer that tells what this member was assigned: all of it, before the session hears what is new.
type heard struct {
	kgo.GroupBalancer
	assigned func(Partitions)
}

// ParseSyncAssignment returns what an assignment says.
func (h heard) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	m, err := h.GroupBalancer.ParseSyncAssignment(assignment)
	if err == nil {
		h.assigned(m)
	}
	return m, err
}

func newBalancer(sets [][]string, address string) balancer {
	return balancer{kgo.CooperativeStickyBalancer(), sets, address}
}

// ProtocolName returns the balancer's own name: members that balance in another way cannot be in the group.
func (balancer) ProtocolName() string { return protocol }

// userData is what a member tells the leader, and whoever describes the group, besides what every member of a Kafka group does.
type userData struct {
	Copartitioned [][]string `json:"copartitioned"`
	Address       string     `json:"address,omitempty"`
}

// JoinGroupMetadata returns what this member tells the leader.
func (b balancer) JoinGroupMetadata(topics []string, owned map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = 3
	meta.Topics = topics
	meta.Generation = generation
	for _, t := range sorted(owned) {
		p := kmsg.NewConsumerMemberMetadataOwnedPartition()
		p.Topic, p.Partitions = t, owned[t]
		meta.OwnedPartitions = append(meta.OwnedPartitions, p)
	}
	if len(b.sets) > 0 || b.address != "" {
		data, err := json.Marshal(userData{b.sets, b.address})
		if err != nil {
			panic("kafka: names of topics do not encode: " + err.Error())
		}
		meta.UserData = data
	}
	return meta.AppendTo(nil)
}

// MemberBalancer returns the balancer for the given members.
func (b balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	return cb, cb.MemberTopics(), err
}

// Balance returns the assignment. counts are the numbers of partitions of the topics that any member reads.
func (b balancer) Balance(cb *kgo.ConsumerBalancer, counts map[string]int32) kgo.IntoSyncAssignment {
	g, err := newGrouping(cb, counts)
	if err != nil {
		cb.SetError(err)
		return nil
	}
	plan := cb.NewPlan()
	for i, member := range g.assign() {
		t := &g.tasks[i]
		if !g.free(t, member) {
			continue
		}
		m, _ := cb.MemberAt(member)
		for _, topic := range t.topics {
			if g.reads[member][topic] {
				plan.AddPartition(m, topic, t.partition)
			}
		}
	}
	return plan
}

// grouping is a group that is to be balanced.
type grouping struct {
	reads  []map[string]bool            // by member
	tasks  []task                       // by set and partition
	sets   int                          // how many there are
	claims map[string]map[int32][]claim // by topic and partition
}

// task is what one member has to get.
type task struct {
	set       int
	partition int32
	topics    []string // those of the set that have the partition, ascending
}

// claim is a member's word that it owns a partition, as of a generation of the group.
type claim struct {
	member     int
	generation int32
}

func newGrouping(cb *kgo.ConsumerBalancer, counts map[string]int32) (*grouping, error) {
	g := &grouping{claims: map[string]map[int32][]claim{}}
	var sets [][]string
	var failed error
	cb.EachMember(func(member *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		reads := make(map[string]bool, len(meta.Topics))
		for _, t := range meta.Topics {
			reads[t] = true
		}
		for _, o := range meta.OwnedPartitions {
			if g.claims[o.Topic] == nil {
				g.claims[o.Topic] = map[int32][]claim{}
			}
			for _, p := range o.Partitions {
				g.claims[o.Topic][p] = append(g.claims[o.Topic][p], claim{len(g.reads), meta.Generation})
			}
		}
		g.reads = append(g.reads, reads)
		if len(meta.UserData) > 0 {
			var data struct { // the address is none of its business
				Copartitioned [][]string `json:"copartitioned"`
			}
			if err := json.Unmarshal(meta.UserData, &data); err != nil && failed == nil {
				failed = fmt.Errorf("kafka: user data of group member %s: %w", member.MemberID, err)
			}
			sets = append(sets, data.Copartitioned...)
		}
	})
	read := slices.DeleteFunc(sorted(counts), func(t string) bool {
		return !slices.ContainsFunc(g.reads, func(reads map[string]bool) bool { return reads[t] })
	})
	for _, topics := range unite(read, sets) {
		g.addSet(topics, counts)
	}
	return g, failed
}

// addSet adds the tasks of a set of topics.
func (g *grouping) addSet(topics []string, counts map[string]int32) {
	var n int32
	for _, t := range topics {
		n = max(n, counts[t])
	}
	for p := range n {
		t := task{set: g.sets, partition: p}
		for _, topic := range topics {
			if counts[topic] > p {
				t.topics = append(t.topics, topic)
			}
		}
		g.tasks = append(g.tasks, t)
	}
	g.sets++
}

// unite returns the topics in the smallest sets of which no two share a set. The topics have to be ascending; so are
// those of each set, and the sets by their first.
func unite(topics []string, sets [][]string) [][]string {
	head := make(map[string]string, len(topics)) // of a topic, another one of its set or itself
	for _, t := range topics {
		head[t] = t
	}
	find := func(t string) string {
		for head[t] != t {
			t = head[t]
		}
		return t
	}
	for _, set := range sets {
		known := slices.DeleteFunc(slices.Clone(set), func(t string) bool { return head[t] == "" })
		for i := 1; i < len(known); i++ {
			a, b := find(known[0]), find(known[i])
			head[max(a, b)] = min(a, b)
		}
	}
	united := map[string][]string{}
	for _, t := range topics {
		united[find(t)] = append(united[find(t)], t)
	}
	all := make([][]string, 0, len(united))
	for _, t := range sorted(united) {
		all = append(all, united[t])
	}
	return all
}

// newest returns the highest generation of claims. A member that missed rebalances may claim what others own since.
func newest(claims []claim) int32 {
	generation := int32(-1)
	for _, c := range claims {
		generation = max(generation, c.generation)
	}
	return generation
}

// owner returns the member that has a task, or -1: where the claims disagree, the one with the newest claims, and the
// most of them.
func (g *grouping) owner(t *task) int {
	generation := int32(-1)
	for _, topic := range t.topics {
		generation = max(generation, newest(g.claims[topic][t.partition]))
	}
	claimed := map[int]int{}
	for _, topic := range t.topics {
		for _, c := range g.claims[topic][t.partition] {
			if c.generation == generation {
				claimed[c.member]++
			}
		}
	}
	owner := -1
	for m := range g.reads {
		if n := claimed[m]; n > 0 && g.unread(t, m) < len(t.topics) && (owner < 0 || n > claimed[owner]) {
			owner = m
		}
	}
	return owner
}

// unread returns how many of a task's topics a member does not read.
func (g *grouping) unread(t *task, member int) int {
	n := 0
	for _, topic := range t.topics {
		if !g.reads[member][topic] {
			n++
		}
	}
	return n
}

// free tells whether a member can have a task now: it owns of it whatever is owned.
func (g *grouping) free(t *task, member int) bool {
	for _, topic := range t.topics {
		claims := g.claims[topic][t.partition]
		owns := slices.Contains(claims, claim{member, newest(claims)})
		others := slices.ContainsFunc(claims, func(c claim) bool { return c.member != member })
		if others && !owns {
			return false
		}
	}
	return true
}

// assign returns the member that each task is for. Tasks that the same members can have are all the same.
func (g *grouping) assign() []int {
	var classes []class
	index := map[string]int{}
	of, owners := make([]int, len(g.tasks)), make([]int, len(g.tasks))
	for i := range g.tasks {
		t := &g.tasks[i]
		key := fmt.Sprint(t.set, t.topics)
		k, ok := index[key]
		if !ok {
			k = len(classes)
			index[key] = k
			c := class{set: t.set, owned: make([]int, len(g.reads)), unread: make([]int, len(g.reads))}
			for m := range g.reads {
				if c.unread[m] = g.unread(t, m); c.unread[m] == len(t.topics) {
					c.unread[m] = never
				}
			}
			classes = append(classes, c)
		}
		of[i], owners[i] = k, g.owner(t)
		classes[k].tasks++
		if owners[i] >= 0 {
			classes[k].owned[owners[i]]++
		}
	}
	quota := share(classes, g.sets, len(g.reads))
	for i, m := range owners { // whoever owns a task keeps it, as far as its quota goes
		if m >= 0 && quota[of[i]][m] > 0 {
			quota[of[i]][m]--
		} else {
			owners[i] = -1
		}
	}
	for i, m := range owners {
		if m >= 0 {
			continue
		}
		m = slices.IndexFunc(quota[of[i]], func(n int) bool { return n > 0 })
		quota[of[i]][m]--
		owners[i] = m
	}
	return owners
}
