package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"millrace.dev/internal/serve"
)

// serveAliases are some of the metrics of [serveCollector] by the names that dashboards of other servers ask for. What KServe's Python
// server shows are histograms in seconds by model; what Triton shows are counters by model and version, of requests, and of
// microseconds that requests took together.
type serveAliases struct {
	models                                               *serve.Models
	preprocess, predict, postprocess, explain            *prometheus.Desc // KServe
	success, failure, inferences, executions, pending    *prometheus.Desc // Triton
	requestTime, queueTime, inputTime, inferTime, output *prometheus.Desc
}

func newServeAliases(m *serve.Models) *serveAliases {
	kserve := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("request_"+name+"_seconds", help, []string{"model_name"}, nil)
	}
	triton := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("nv_inference_"+name, help, append([]string{"model", "version"}, more...), nil)
	}
	return &serveAliases{
		models:      m,
		preprocess:  kserve("preprocess", "As KServe calls millrace_serve_features_seconds."),
		predict:     kserve("predict", "As KServe calls millrace_serve_scoring_seconds."),
		postprocess: kserve("postprocess", "As KServe calls millrace_serve_encoding_seconds."),
		explain:     kserve("explain", "As KServe calls the time of requests that asked for explanations."),
		success:     triton("request_success", "As Triton calls requests that were answered."),
		failure:     triton("request_failure", "As Triton calls millrace_serve_refused_total.", "reason"),
		inferences:  triton("count", "As Triton calls millrace_serve_rows_total without millrace_serve_problems_total."),
		executions:  triton("exec_count", "As Triton calls batches."),
		pending:     triton("pending_request_count", "As Triton calls requests of which no row was taken by a worker yet."),
		requestTime: triton("request_duration_us", "As Triton calls the sum of millrace_serve_predict_seconds, in microseconds."),
		queueTime:   triton("queue_duration_us", "As Triton calls the sum of millrace_serve_queue_seconds, in microseconds."),
		inputTime:   triton("compute_input_duration_us", "As Triton calls the sum of millrace_serve_features_seconds, in microseconds."),
		inferTime:   triton("compute_infer_duration_us", "As Triton calls the sum of millrace_serve_scoring_seconds, in microseconds."),
		output:      triton("compute_output_duration_us", "As Triton calls the sum of millrace_serve_encoding_seconds, in microseconds."),
	}
}

// Describe implements [prometheus.Collector].
func (a *serveAliases) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, ch) }

// Collect implements [prometheus.Collector].
func (a *serveAliases) Collect(ch chan<- prometheus.Metric) {
	e := emitter{ch}
	for _, m := range a.models.Stats() {
		var features, scoring, output, explain serve.Distribution
		for i := range m.Versions {
			v := &m.Versions[i]
			features.Add(&v.Features)
			scoring.Add(&v.Scoring)
			output.Add(&v.Output)
			explain.Add(&v.Explain)
			a.version(e, v)
		}
		e.durations(a.preprocess, &features, m.Model)
		e.durations(a.predict, &scoring, m.Model)
		e.durations(a.postprocess, &output, m.Model)
		e.durations(a.explain, &explain, m.Model)
	}
}

func (a *serveAliases) version(e emitter, v *serve.VersionStats) {
	const nanos = 1000 // of a microsecond
	e.counter(a.success, float64(v.Requests), v.Model, v.Version)
	e.counter(a.failure, float64(v.Busy), v.Model, v.Version, "REJECTED")
	e.counter(a.failure, float64(v.Cancelled), v.Model, v.Version, "CANCELED")
	e.counter(a.failure, float64(v.Refused), v.Model, v.Version, "OTHER")
	e.counter(a.inferences, float64(v.Rows-v.Problems), v.Model, v.Version)
	e.counter(a.executions, float64(v.Batches), v.Model, v.Version)
	e.gauge(a.pending, float64(v.Pending), v.Model, v.Version)
	e.counter(a.requestTime, float64(v.Request.Sum/nanos), v.Model, v.Version)
	e.counter(a.queueTime, float64(v.Queue.Sum/nanos), v.Model, v.Version)
	e.counter(a.inputTime, float64(v.Features.Sum/nanos), v.Model, v.Version)
	e.counter(a.inferTime, float64(v.Scoring.Sum/nanos), v.Model, v.Version)
	e.counter(a.output, float64(v.Output.Sum/nanos), v.Model, v.Version)
}
