package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/task"
)

// collector makes metrics of what an engine has done, when they are asked for.
type collector struct {
	engine                                           *engine.Engine
	program                                          *task.Program
	records, written, dead, dropped, commits, aborts *prometheus.Desc
	rebalances, lag, latency, state, paused          *prometheus.Desc
	held, opened, waiting, lacking                   *prometheus.Desc
	nodeRecords, nodeSeconds                         *prometheus.Desc
	restoreTasks, restoreLeft, restoreRate           *prometheus.Desc
	stateBytes, stateLimit, statePeak, evicted       *prometheus.Desc
}

func newCollector(e *engine.Engine, p *task.Program) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_"+name, help, labels, nil)
	}
	return &collector{
		engine: e, program: p,
		records:      desc("records_total", "Records that were read and whose results are committed."),
		written:      desc("written_total", "Committed records of the topics that the application writes."),
		dead:         desc("dead_letters_total", "Committed dead letters.", "stage", "class"),
		dropped:      desc("dropped_records_total", "Records that an operator dropped, with a dead letter or without.", "node", "stage", "class"),
		commits:      desc("commits_total", "Commits: transactions under exactly-once."),
		aborts:       desc("aborts_total", "Rounds that were undone and processed again."),
		rebalances:   desc("rebalances_total", "Changes of this instance's partitions."),
		lag:          desc("lag_offsets", "Offsets that are not committed of the topics that are read.", "topic", "partition"),
		latency:      desc("latency_seconds", "Time from a record's timestamp to the commit of what it led to."),
		state:        desc("state", "1 for the state that the application is in.", "state"),
		paused:       desc("paused", "1 while no records are processed, because that was asked for."),
		held:         desc("breaker_open", "1 for a partition that is paused since too many of its records became dead letters, 0.5 for one on trial after that.", "topic", "partition"),
		opened:       desc("breaker_opened_total", "How often a partition was paused for its dead letters."),
		waiting:      desc("epoch_waiting_partitions", "Partitions of which no records are processed, since another instance has used a newer model than this one has."),
		lacking:      desc("lacking_partitions", "Partitions of a topic for whose records those of other topics wait, as those of the other arms do for an arm that is down.", "topic"),
		nodeRecords:  desc("node_records_total", "Records that came into a node of the topology.", "node"),
		nodeSeconds:  desc("node_seconds_total", "Time that a node took, estimated from samples.", "node"),
		restoreTasks: desc("restore_tasks", "Tasks that wait for their state."),
		restoreLeft:  desc("restore_remaining_records", "Records of changelogs that are still to be read."),
		stateBytes:   desc("state_bytes", "Memory for state: the part of the limit that is for files, changes that are not committed, decoded rows, stores in memory, global tables.", "kind"),
		stateLimit:   desc("state_limit_bytes", "Limit of the memory for state."),
		statePeak:    desc("state_peak_bytes", "Highest sum of the memory for state so far."),
		evicted:      desc("state_evicted_rows_total", "Decoded rows that had to make room."),
		restoreRate:  desc("restore_records_per_second", "Rate at which changelogs are read."),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.engine.Stats()
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter(c.records, float64(s.Records))
	counter(c.written, float64(s.Written))
	counter(c.commits, float64(s.Commits))
	counter(c.aborts, float64(s.Aborts))
	counter(c.rebalances, float64(s.Rebalances))
	for k, n := range s.DeadLetters {
		counter(c.dead, float64(n), k.Stage, k.Class)
	}
	for d, n := range s.Dropped {
		counter(c.dropped, float64(n), d.Node, d.Stage, d.Class)
	}
	for p, n := range s.Lag {
		gauge(c.lag, float64(n), p.Topic, strconv.Itoa(int(p.Partition)))
	}
	for i, n := range s.Nodes {
		name := c.program.Nodes[i].Name
		counter(c.nodeRecords, float64(n.Records), name)
		counter(c.nodeSeconds, NodeTime(n).Seconds(), name)
	}
	gauge(c.state, 1, string(s.State))
	paused := 0.0
	if s.Paused != "" {
		paused = 1
	}
	gauge(c.paused, paused)
	counter(c.opened, float64(s.BreakerOpened))
	for _, h := range s.Held {
		open := 1.0
		if h.Trial {
			open = 0.5
		}
		gauge(c.held, open, h.Topic, strconv.Itoa(int(h.Partition.Partition)))
	}
	waiting := 0
	for _, p := range s.Epochs {
		if p.Waits {
			waiting++
		}
	}
	gauge(c.waiting, float64(waiting))
	lacking := map[string]int{}
	for _, p := range s.Lacks {
		lacking[p.Topic]++
	}
	for topic, n := range lacking {
		gauge(c.lacking, float64(n), topic)
	}
	gauge(c.restoreTasks, float64(s.Restoring.Tasks))
	gauge(c.restoreLeft, float64(s.Restoring.Left))
	gauge(c.restoreRate, s.Restoring.Rate)
	if m := s.Memory; m.Limit > 0 {
		for kind, n := range map[string]int64{"disk": m.Disk, "uncommitted": m.Writes, "rows": m.Rows, "memory": m.Memory, "global": m.Globals} {
			gauge(c.stateBytes, float64(n), kind)
		}
		gauge(c.stateLimit, float64(m.Limit))
		gauge(c.statePeak, float64(m.Peak))
		counter(c.evicted, float64(m.Evicted))
	}
	buckets := map[float64]uint64{}
	for d := time.Millisecond; d < time.Minute; d *= 2 {
		buckets[d.Seconds()] = s.Latency.CountUpTo(d)
	}
	ch <- prometheus.MustNewConstHistogram(c.latency, s.Latency.Count, s.Latency.Sum.Seconds(), buckets)
}

// NodeTime estimates the time that a node took from that of the records that were sampled.
func NodeTime(n task.NodeStats) time.Duration {
	if n.Sampled == 0 {
		return 0
	}
	return time.Duration(float64(n.Time) / float64(n.Sampled) * float64(n.Records))
}
