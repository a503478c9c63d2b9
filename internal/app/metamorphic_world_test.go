package app_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"millrace.dev/record"
)

// world is a random pipeline with random data.
type world struct {
	r        *rand.Rand
	yaml     string
	required bool
	files    map[string]string
	tables   []*metaTable
	records  []metaRecord
	windows  []string // their keys, each once

	sourceKey string // the field that is the key of the records, or ""
	features  []string
}

// metaRecord is a record of the source.
type metaRecord struct {
	id     int
	fields map[string]string // what it says, where that is a text
	value  string
	at     int64
	stamp  int64 // the timestamp in the topic, which matters to nothing
	key    []byte
}

const (
	metaTrain   = 160 // records that the model is trained with
	metaRecords = 240 // all records
	metaDay     = int64(24 * time.Hour / time.Millisecond)
)

// metaStart is the time of the first record, in milliseconds.
const metaStart = int64(1_740_787_200_000) // 2025-03-01

// chance is true in one of n cases.
func (w *world) chance(n int) bool { return w.r.IntN(n) == 0 }

func (w *world) pick(of ...string) string { return of[w.r.IntN(len(of))] }

// some returns a part of what it is given, in order, and at least one.
func (w *world) some(n int, of ...string) []string {
	keep := w.r.Perm(len(of))[:min(n, len(of))]
	slices.Sort(keep)
	var out []string
	for _, i := range keep {
		out = append(out, of[i])
	}
	return out
}

// newWorld makes a world of a seed. required says whether there are tables in which a record has to have a row.
func newWorld(seed uint64, required bool) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 77)), files: map[string]string{}, required: required}
	if w.chance(2) {
		w.sourceKey = w.pick("city", "seller")
	}
	w.makeTables()
	windows := w.makeWindows()
	w.makeFeatures()
	w.makeRecords()
	w.yaml = w.pipeline(windows)
	return w
}

// pipeline returns the pipeline file.
func (w *world) pipeline(windows string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("version: 1\nname: meta")
	line("schema:")
	line("  numeric: [y, id, x, z]\n  enum: [city, seller, kind]\n  string: [note, tags]")
	line("  time: [{name: at, layouts: [%s]}, built]", w.pick("unix_ms", "unix_us"))
	if w.chance(4) {
		line("  required: [kind]")
	}
	line("source: {topic: in, event_time: at%s}", map[bool]string{true: ", key: " + w.sourceKey}[w.sourceKey != ""])
	if len(w.tables) > 0 {
		line("tables:")
		for _, t := range w.tables {
			line("  %s", t.yaml())
		}
	}
	b.WriteString(windows)
	line("features:")
	for _, f := range w.features {
		name, expr, _ := strings.Cut(f, ": ")
		quoted, _ := json.Marshal(expr)
		line("  %s: %s", name, quoted)
	}
	line("train: {data: data.jsonl, label: y, ignore: [note, tags, at, built], gbm: {ntrees: 12, min_rows: 2, seed: %d}, split: {seed: %d}}", w.r.IntN(9), w.r.IntN(9))
	line("sink: {topic: out}\ndead_letter: {topic: dlq}")
	line("%s", w.rules())
	text := b.String()
	if strings.Contains(text, "unix_us") { // the records say it in that unit
		for i := range w.records {
			w.records[i].value = strings.Replace(w.records[i].value, `"at":`+strconv.FormatInt(w.records[i].at, 10), `"at":`+strconv.FormatInt(w.records[i].at*1000+w.r.Int64N(1000), 10), 1)
		}
	}
	return text
}

// rules returns record checks, over fields, features and what training has seen.
func (w *world) rules() string {
	r := rand.New(rand.NewPCG(w.r.Uint64(), 5)) // what follows stays as it is without them
	all := []string{
		"x between -4 and 4", "z in training", "id in training", "city in training", "kind not in training", "seller in training or is_missing(seller)", "not is_missing(note)", "len(note) < 6",
		"x <= z", "at < built or x != 0", "(x ?? 0) * 2 > -1", `matches(tags, "p")`,
	}
	for _, f := range w.features {
		name, expr, _ := strings.Cut(f, ": ")
		switch {
		case strings.HasPrefix(name, "f_w"):
			all = append(all, name+" > 0", "not is_missing("+name+")", name+" in training")
		case name == "district":
			all = append(all, "district in training", `district != "b"`)
		case expr == "x / z" || expr == "standard(x)" || expr == "target_mean(city)":
			all = append(all, name+" > 0 and x < 3")
		}
	}
	var text strings.Builder
	text.WriteString("checks:\n  record:\n")
	n := 0
	for _, i := range r.Perm(len(all)) {
		if n > r.IntN(6) {
			break
		}
		quoted, _ := json.Marshal(all[i])
		fmt.Fprintf(&text, "    - {rule: %s, otherwise: %s}\n", quoted, []string{"warn", "warn", "dead_letter"}[r.IntN(3)])
		n++
	}
	return text.String()
}

// makeWindows declares windows.
func (w *world) makeWindows() string {
	n := w.r.IntN(4)
	if n == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("windows:\n")
	for i := range n {
		key := w.pick("city", "city", "seller", "seller", "lower(kind)", `city + "/" + seller`, "district")
		if !slices.Contains(w.windows, key) {
			w.windows = append(w.windows, key)
		}
		quoted, _ := json.Marshal(key)
		over := []string{"2s", "90s", "1h", "6h", "24h", "72h"}[w.r.IntN(6)]
		fmt.Fprintf(&b, "  w%d:\n    key: %s\n    over: %s\n", i, quoted, over)
		if w.chance(3) {
			fmt.Fprintf(&b, "    hop: %s\n", map[string]string{"2s": "500ms", "90s": "7s", "1h": "1h", "6h": "45m", "24h": "5m", "72h": "25h"}[over])
		}
		if w.chance(2) {
			fmt.Fprintf(&b, "    grace: %s\n", w.pick("0s", "3s", over))
		}
		if w.chance(2) {
			fmt.Fprintf(&b, "    where: %s\n", w.pick("x > 0", `kind != "k1"`, "is_missing(z) or z < 5", `at > time("2025-03-04T00:00:00Z")`))
		}
		aggregates := w.some(2+w.r.IntN(6), "n: count()", "nx: count(x)", "nk: count(kind)", "sum: sum(x)", "mean: mean(x)", "low: min(z)", "high: max(x + z)", "var: variance(x)", "dev: stddev(z)",
			"kinds: distinct(kind)", "values: distinct(x)", "first: first(x)", "last: last(x)", "third: lag(x, 3)", "step: difference(z)", "p90: percentile(x, 0.9)", "share: mean(x > 1)", "median: percentile(z, 0.5)", "seconds: last(unix(at))")
		b.WriteString("    aggregates:\n")
		for _, a := range aggregates {
			fmt.Fprintf(&b, "      %s\n", a)
			name, _, _ := strings.Cut(a, ":")
			ref := fmt.Sprintf("w%d.%s", i, name)
			switch w.r.IntN(6) {
			case 0:
				ref = "x - " + ref
			case 1:
				ref = "standard(" + ref + ")"
			case 2:
				ref = "coalesce(" + ref + ", -1)"
			}
			w.features = append(w.features, fmt.Sprintf("f_w%d_%s: %s", i, name, ref))
		}
	}
	if slices.Contains(w.windows, "district") {
		w.features = append(w.features, "district: note[0:1]")
	}
	return b.String()
}

// makeFeatures adds features of every kind to those of windows and tables.
func (w *world) makeFeatures() {
	all := []string{
		"standard(x)", "min_max(x, low: -1, high: 2)", "max_abs(z)", `impute(x, by: "median")`, "quantile_bucket(x, buckets: 4)", "iqr_outlier(x)", "quantile_outlier(z, buckets: 5)",
		"z_score(x, city)", "one_hot(city, top: 2, oov: 3)", "one_hot(kind, missing: true)", "position(seller)", "vocabulary(city, oov: 2)", "heavy_hitters(city, top: 3)", `n_hot(tags, sep: ";")`,
		`n_hot_weighted(tags, sep: ";")`, "ngrams(note, low: 1, high: 2, top: 6)", "hash_one_hot(seller, size: 5)", `hash_n_hot(tags, sep: ";", size: 4)`, `hash_n_hot_weighted(tags, sep: ";", size: 4)`,
		"mdl_bucket(x, kind)", "target_mean(city)", `target_mean(city + "|" + seller, folds: 3)`, "standard(log1p(impute(abs(x))))", "standard(target_mean(seller))", "vector(x, z)", "normalize(vector(x, z, 1))",
		"polynomial(vector(x, z), degree: 2)", "cross(one_hot(city), one_hot(kind))", "bucketize(x, splits: [-5, 0, 1, 2.5, 40])", "von_mises_points(hour(at) * 60, kappa: 20, scale: 0.0043633, points: [0, 480, 960])",
		"x / z", "x % 3", "x ** 2 + z", "log(x) + exp(z)", "x > z and not is_missing(kind)", `kind == "k1" ? x : z`, "days_since(at, built)", `hour(at, "Europe/Paris")`, "month(built)", `matches(note, "^[a-c]+")`,
		`extract(note, "([a-z]+) ", 1)`, `len(replace_regex(note, "a+", "b"))`, `city in ["c1", "c2"]`, "min(x, z, 3)", "clip(x, -1, 1)", "round(x) + sign(z)", "cycle_sin(x, 7)", "bin(x, 0.5)", `lower(city) + "_" + upper(kind)`,
		"week(at)", "haversine(x, z, 1, 2)", "geohash(x, z, 4)", "word_count(note)", `hash_bucket(note, 7)`,
	}
	for i, f := range w.some(4+w.r.IntN(8), all...) {
		w.features = append(w.features, fmt.Sprintf("f%d: %s", i, f))
	}
	for _, t := range w.tables {
		for i, f := range w.some(1+w.r.IntN(3), t.features(w)...) {
			w.features = append(w.features, fmt.Sprintf("f_%s_%d: %s", t.name, i, f))
		}
	}
}

// makeRecords makes the records in the order in which they come. Later ones have levels that the first ones do not have.
func (w *world) makeRecords() {
	now := metaStart + metaDay/2
	last := now
	for i := range metaRecords {
		now += w.r.Int64N([]int64{2, 3_000, 60_000, 3_600_000, 6_000_000}[w.r.IntN(5)])
		at := now
		switch w.r.IntN(12) {
		case 0, 1:
			at = last // equal times
		case 2, 3:
			at -= w.r.Int64N(5000)
		case 4:
			at -= w.r.Int64N(metaDay * 3 / 4) // below the day after which states are forgotten
		case 5:
			at = w.changeTime(at) // within the millisecond of a change, or just after
		}
		last = at
		w.records = append(w.records, w.record(i, at))
	}
}

// changeTime returns a time within a few milliseconds of a change of a table, if there is one near a time.
func (w *world) changeTime(at int64) int64 {
	for _, t := range w.tables {
		for _, c := range t.times {
			if near := c/1000 - 1 + w.r.Int64N(3); near >= at-metaDay/2 && near <= at+metaDay/8 {
				return near
			}
		}
	}
	return at
}

// text is a random text of n variants; some are rare, and come late.
func (w *world) text(prefix string, n, i int) string {
	if i > metaTrain && w.chance(6) {
		return prefix + strconv.Itoa(n+w.r.IntN(3))
	}
	return prefix + strconv.Itoa(min(w.r.IntN(n), w.r.IntN(n)))
}

func (w *world) number() string {
	switch w.r.IntN(9) {
	case 0:
		return strconv.Itoa(w.r.IntN(5) - 2)
	case 1:
		return "0"
	case 2:
		return strconv.FormatFloat((w.r.Float64()-0.5)*1e15, 'g', -1, 64)
	case 3:
		return "-0.0"
	default:
		return strconv.FormatFloat(w.r.NormFloat64()*3, 'g', -1, 64)
	}
}

// record makes a record: a few are bad, and many lack something.
func (w *world) record(i int, at int64) metaRecord {
	m := metaRecord{id: i, at: at, fields: map[string]string{}}
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":%d`, i)
	text := func(name, value string, missing int) {
		if w.chance(missing) {
			return
		}
		m.fields[name] = value
		quoted, _ := json.Marshal(value)
		fmt.Fprintf(&b, `,%q: %s`, name, quoted)
	}
	text("city", w.text("c", 4, i), 15)
	text("seller", w.text("s", 6, i), 15)
	text("kind", w.text("k", 3, i), 20)
	text("note", w.pick("a b", "a  c", "bb", "", "Äb c", "c a b a")+w.pick("", " x"), 10)
	text("tags", w.pick("p", "p;q", "q:2.5;p:1", "", "r:x", "p;p;q")+w.pick("", ";t"), 10)
	text("built", w.pick("2001-02-03", "1969-12-31", "2024-12-31T23:59:59Z"), 5)
	for _, name := range []string{"x", "z"} {
		switch {
		case w.chance(12):
		case w.chance(20):
			fmt.Fprintf(&b, `,"%s":null`, name)
		default:
			fmt.Fprintf(&b, `,"%s":%s`, name, w.number())
		}
	}
	y := 10*w.r.Float64() + float64(i%7)
	fmt.Fprintf(&b, `,"y":%v`, y)
	switch w.r.IntN(40) {
	case 0: // no event time
	case 1: // a wrong clock
		m.at = -86_400_000 * int64(w.r.IntN(3))
		if w.chance(3) {
			m.at = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		}
		fmt.Fprintf(&b, `,"at":%d`, m.at)
	default:
		fmt.Fprintf(&b, `,"at":%d`, at)
	}
	b.WriteString(w.pick("}", " }", "}  "))
	m.value = b.String()
	switch w.r.IntN(40) {
	case 0:
		m.value = m.value[:len(m.value)/2]
	case 1:
		m.value = strings.Replace(m.value, `{"id"`, `{"x":"text","id"`, 1)
	case 2:
		m.value = w.pick("{}", "[1]", `{"else":1}`, m.value+"x", `{"id":1,"id":2}`, `{"prediction":1,"x":2}`, `{"ID":1}`, `{"at":"noon"}`)
	}
	m.stamp = []int64{1000 + int64(i), at, at, 0, -1, at + 40*365*metaDay}[w.r.IntN(6)]
	if w.sourceKey != "" {
		if k, ok := m.fields[w.sourceKey]; ok {
			m.key = []byte(k)
		}
	} else if !w.chance(10) {
		m.key = fmt.Appendf(nil, "r%d", w.r.IntN(50))
	}
	return m
}

// write puts the world into a folder.
func (w *world) write(t *testing.T, dir string) {
	t.Helper()
	var train, all strings.Builder
	for i, r := range w.records {
		if i < metaTrain {
			train.WriteString(r.value + "\n")
		}
		all.WriteString(r.value + "\n")
	}
	w.files["pipeline.yaml"], w.files["data.jsonl"], w.files["all.jsonl"] = w.yaml, train.String(), all.String()
	for name, text := range w.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// windowKey returns the key of the record in a window, and whether it has one.
func (m *metaRecord) windowKey(expr string) (string, bool) {
	city, ok := m.fields["city"]
	seller, sold := m.fields["seller"]
	kind, kinded := m.fields["kind"]
	note, noted := m.fields["note"]
	switch expr {
	case "lower(kind)":
		return strings.ToLower(kind), kinded
	case "district":
		return string([]rune(note + " ")[:min(1, len([]rune(note)))]), noted
	case "city":
		return city, ok
	case "seller":
		return seller, sold
	default:
		return city + "/" + seller, ok && sold
	}
}

// changelogs returns the records of the tables' topics.
func (w *world) changelogs() map[string][]record.Raw {
	m := map[string][]record.Raw{}
	for _, t := range w.tables {
		if t.topic() {
			m["ref."+t.name] = t.changes
		}
	}
	return m
}
