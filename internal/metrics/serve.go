package metrics

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
)

// Serve are the metrics of millrace serve. They are safe for concurrent use.
type Serve struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// ServeOptions say what is counted by others.
type ServeOptions struct {
	Models *serve.Models
	Server func() server.Stats // Default: nothing is told of connections
	Tables func() []ServeTable // Default: none
}

// ServeTable is a table whose topic is followed.
type ServeTable struct {
	Model, Table string
	Rows         int
	Refused      uint64        // records of the topic that are no changes of the table
	Age          time.Duration // since the table was last seen to be at the end of its topic
}

// NewServe returns the metrics of models.
func NewServe(o ServeOptions) (*Serve, error) {
	s := &Serve{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "millrace_serve_requests_total", Help: "Requests that were answered, by route and status; a route is \"\" where there is none.",
		}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "millrace_serve_request_seconds", Help: "Time from when a request's header is there until it was answered.",
			Buckets: prometheus.ExponentialBuckets(1.0/4096, 2, 16),
		}, []string{"route"}),
	}
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		s.requests, s.seconds, newServeCollector(o), newServeAliases(o.Models),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	s.handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	return s, nil
}

// Handler answers with the metrics, for Prometheus.
func (s *Serve) Handler() http.Handler { return s.handler }

// Observe counts a request. It is for [server.Options].Observe.
func (s *Serve) Observe(_ context.Context, o server.Observation) {
	s.requests.WithLabelValues(o.Method, o.Pattern, strconv.Itoa(o.Status)).Inc()
	s.seconds.WithLabelValues(o.Pattern).Observe(o.Duration.Seconds())
}

// serveCollector makes metrics of what models have done, when they are asked for.
type serveCollector struct {
	options                                           ServeOptions
	queue, features, scoring, output, predict, sizes  *prometheus.Desc
	rows, problems, refused, waiting                  *prometheus.Desc
	info, ready, swaps, stale, stales, failed         *prometheus.Desc
	inFlight, connections, turnedAway, evicted, bytes *prometheus.Desc
	tableRows, tableRefused, tableAge                 *prometheus.Desc
}

func newServeCollector(o ServeOptions) *serveCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_serve_"+name, help, labels, nil)
	}
	return &serveCollector{
		options:  o,
		queue:    desc("queue_seconds", "Time until a worker took the first row of a request.", "model", "version"),
		features: desc("features_seconds", "Time that a request's batches took to be decoded, looked up, made features of and checked; of inputs, to be put together.", "model", "version"),
		scoring:  desc("scoring_seconds", "Time that a request's batches took to be scored.", "model", "version"),
		output:   desc("encoding_seconds", "Time that a request's batches took to be encoded, and explained where that was asked for.", "model", "version"),
		predict:  desc("predict_seconds", "Time from when a request's records were read until all were predicted.", "model", "version"),
		sizes:    desc("batch_rows", "Rows of a batch, which can be of several requests.", "model", "version"),
		rows:     desc("rows_total", "Records, or rows of inputs, of requests that were answered.", "model", "version"),
		problems: desc("problems_total", "Records among them that could not be predicted.", "model", "version"),
		refused:  desc("refused_total", "Requests that got no prediction: busy, too many rows waited; ending, the server was about to end; cancelled, the client did not wait.", "model", "version", "reason"),
		waiting:  desc("waiting_rows", "Rows that wait for a worker."),
		info:     desc("model_info", "1 for each version in memory; promoted says whether requests get it that name none.", "model", "version", "digest", "promoted"),
		ready:    desc("model_ready", "1 while requests get predictions that name no version, else 0.", "model"),
		swaps:    desc("model_swaps_total", "How often another version has taken over.", "model"),
		stale:    desc("registry_stale", "1 while the registry does not answer: the present versions go on.", "model"),
		stales:   desc("registry_failures_total", "How often the registry did not answer.", "model"),
		failed:   desc("model_failed_versions", "Versions that cannot be loaded.", "model"),

		inFlight:    desc("in_flight_requests", "Requests that are worked on."),
		connections: desc("connections", "Connections that are open."),
		turnedAway:  desc("connections_refused_total", "Connections that were refused for being too many."),
		evicted:     desc("connections_evicted_total", "Idle connections that gave way to others."),
		bytes:       desc("body_bytes", "Bytes of request bodies that are in memory."),

		tableRows:    desc("table_rows", "Rows of a table whose topic is followed.", "model", "table"),
		tableRefused: desc("table_refused_total", "Records of a table's topic that are no changes of the table.", "model", "table"),
		tableAge:     desc("table_age_seconds", "Time since the table was last seen to be at the end of its topic.", "model", "table"),
	}
}

// Describe implements [prometheus.Collector].
func (c *serveCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements [prometheus.Collector].
func (c *serveCollector) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	e.gauge(c.waiting, float64(c.options.Models.Waiting()))
	for _, m := range c.options.Models.Stats() {
		c.model(e, &m)
	}
	if c.options.Server != nil {
		s := c.options.Server()
		e.gauge(c.inFlight, float64(s.InFlight))
		e.gauge(c.connections, float64(s.Connections))
		e.counter(c.turnedAway, float64(s.ConnectionsRefused))
		e.counter(c.evicted, float64(s.ConnectionsEvicted))
		e.gauge(c.bytes, float64(s.BodyBytes))
	}
	if c.options.Tables != nil {
		for _, t := range c.options.Tables() {
			e.gauge(c.tableRows, float64(t.Rows), t.Model, t.Table)
			e.counter(c.tableRefused, float64(t.Refused), t.Model, t.Table)
			e.gauge(c.tableAge, t.Age.Seconds(), t.Model, t.Table)
		}
	}
}

func (c *serveCollector) model(e emitter, m *serve.ModelStats) {
	e.gauge(c.ready, one(m.Ready), m.Model)
	e.gauge(c.stale, one(m.Stale), m.Model)
	e.counter(c.swaps, float64(m.Swaps), m.Model)
	e.counter(c.stales, float64(m.Stales), m.Model)
	e.gauge(c.failed, float64(m.Failed), m.Model)
	for i := range m.Versions {
		v := &m.Versions[i]
		if v.Loaded {
			e.gauge(c.info, 1, v.Model, v.Version, v.Digest, strconv.FormatBool(v.Promoted))
		}
		e.counter(c.rows, float64(v.Rows), v.Model, v.Version)
		e.counter(c.problems, float64(v.Problems), v.Model, v.Version)
		e.counter(c.refused, float64(v.Busy), v.Model, v.Version, "busy")
		e.counter(c.refused, float64(v.Refused), v.Model, v.Version, "ending")
		e.counter(c.refused, float64(v.Cancelled), v.Model, v.Version, "cancelled")
		e.durations(c.queue, &v.Queue, v.Model, v.Version)
		e.durations(c.features, &v.Features, v.Model, v.Version)
		e.durations(c.scoring, &v.Scoring, v.Model, v.Version)
		e.durations(c.output, &v.Output, v.Model, v.Version)
		e.durations(c.predict, &v.Request, v.Model, v.Version)
		e.sizes(c.sizes, &v.Sizes, v.Model, v.Version)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// emitter sends metrics.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) counter(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// The buckets of durations that are shown: from 2^leastBits ns, 8 µs, to 2^mostBits ns, 17 s; and of rows, up to 65535.
const (
	leastBits = 13
	mostBits  = 34
	rowBits   = 16
)

// durations sends a histogram in seconds.
func (e emitter) durations(d *prometheus.Desc, of *serve.Distribution, labels ...string) {
	buckets := make(map[float64]uint64, mostBits-leastBits+1)
	for i := leastBits; i <= mostBits; i++ {
		buckets[math.Ldexp(1, i)/1e9] = of.Below[i]
	}
	e.ch <- prometheus.MustNewConstHistogram(d, of.Count, float64(of.Sum)/1e9, buckets, labels...)
}

// sizes sends a histogram of whole numbers: those below 2^i are not more than 2^i - 1.
func (e emitter) sizes(d *prometheus.Desc, of *serve.Distribution, labels ...string) {
	buckets := make(map[float64]uint64, rowBits)
	for i := 1; i <= rowBits; i++ {
		buckets[math.Ldexp(1, i)-1] = of.Below[i]
	}
	e.ch <- prometheus.MustNewConstHistogram(d, of.Count, float64(of.Sum), buckets, labels...)
}
