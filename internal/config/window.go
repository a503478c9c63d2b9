package config

import (
	"path/filepath"
	"strings"
	"time"

	"millrace.dev/feature"
	"millrace.dev/internal/pipeline"
)

// isMaxMind tells whether a source is a MaxMind database.
func isMaxMind(data string) bool { return strings.EqualFold(filepath.Ext(data), ".mmdb") }

func windowFields() []field {
	return []field{
		{
			key: "key", kind: kindExpression, required: true, example: "city",
			doc: "The text, an expression over fields and features of fields, by which records are aggregated together",
		},
		{
			key: "over", kind: kindDuration, required: true, example: "1h", least: float64(time.Second), most: float64(maxHistory),
			doc: "How far back a window reaches before a record, in event time",
		},
		{
			key: "hop", kind: kindDuration, defDoc: "about a 60th of over", least: float64(20 * time.Millisecond), most: float64(maxHistory),
			doc: "The step in which the far end of a window moves, so that a window is at most that much longer than over",
		},
		{
			key: "grace", kind: kindDuration, defDoc: "over", least: 0, most: float64(maxHistory),
			doc: "By how much a record can be earlier than the latest of its key and still be aggregated",
		},
		{
			key: "where", kind: kindExpression, defDoc: "every record",
			doc: "The condition that a record has to meet to be aggregated; one that does not has aggregates all the same",
		},
		{
			key: "aggregates", kind: kindNamed, required: true, example: "{n: count()}",
			doc:  "What is computed of the records before one: names to count(), count(x), sum(x), mean(x), min(x), max(x), variance(x), stddev(x), distinct(x), first(x), last(x, k), lag(x, k), difference(x) or percentile(x, p)",
			item: &field{kind: kindExpression, doc: "An aggregate of an expression over fields and features of fields"},
		},
	}
}

func setWindows(p *Pipeline, v value) {
	for i, name := range v.names {
		f := v.list[i].fields
		w := feature.Window{
			Name: name, Key: f["key"].text, Where: f["where"].text, Size: f["over"].time, Hop: f["hop"].time, Grace: f["grace"].time, GraceSet: f["grace"].node != nil,
		}
		aggregates := f["aggregates"]
		for k, a := range aggregates.names {
			w.Aggregates = append(w.Aggregates, feature.Spec{Name: a, Expr: aggregates.list[k].text})
		}
		p.Windows = append(p.Windows, w)
	}
}

// lintWindows checks the windows; their expressions are checked with the features.
func (d *decoder) lintWindows() {
	for i := range d.p.Windows {
		w := &d.p.Windows[i]
		path := join("windows", w.Name)
		d.lintSourceName(path, w.Name)
		if w.Hop > w.Size && w.Size > 0 {
			d.reportAt(path+".hop", path+".hop is longer than over", "leave it out for about a 60th of over")
		} else if w.Size > 0 {
			d.lintTimes(path, w)
		}
	}
}

// lintTimes checks the times of a window together, as run and train do when they make it.
func (d *decoder) lintTimes(path string, w *feature.Window) {
	info := feature.WindowInfo{Size: w.Size, Hop: w.Hop, Grace: w.Grace, GraceSet: w.GraceSet, Aggregates: []feature.Aggregate{{Func: "count", Arg: -1}}}
	_, err := pipeline.CompileWindow(&info)
	if err == nil {
		return
	}
	at := path + ".hop"
	if w.Hop == 0 {
		at = path + ".over"
	}
	d.reportAt(at, path+": "+strings.TrimPrefix(err.Error(), "window: "), "")
}
