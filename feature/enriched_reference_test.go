package feature

import (
	"strconv"
	"time"

	"millrace.dev/record"
)

// This file has what random expressions use beside the record, and its second implementation: rows of a table, aggregates
// of a window, and buckets.

// growEnriched draws a column of a row of a table, an aggregate of a window, or a bucket.
func (g *grower) growEnriched(k kind, depth int) *tree {
	if k == kindNumber && g.pick(3) == 0 {
		return &tree{op: "column", kind: k, name: pickOf(g, "win.n", "win.m")}
	}
	if k == kindNumber && g.pick(2) == 0 {
		t := g.op("bucketize", k, depth, kindNumber)
		t.extra = pickOf(g, []string{"-1", "0"}, []string{"0", "1", "2.5", "10"}, []string{"-1e300", "-2", "7.25", "1e300"})
		return t
	}
	t := g.op("cell", k, depth, kindText)
	t.name = map[kind]string{kindNumber: "number", kindText: "word", kindTime: "since"}[k]
	return t
}

func randomTables() []Table {
	s, err := record.NewSchema(
		record.Field{Name: "number", Type: record.Numeric}, record.Field{Name: "word", Type: record.Enum}, record.Field{Name: "since", Type: record.Time},
	)
	if err != nil {
		panic(err)
	}
	return []Table{{"unused", s}, {"tab", s}}
}

// randomWindows has a window whose aggregates are given, in the columns win.n and win.m of a row.
func randomWindows() []Window {
	return []Window{{Name: "win", Key: "e", Size: time.Hour, Aggregates: []Spec{{"m", "count()"}, {"n", "mean(x)"}}}}
}

// rowOf returns the cells of the row of a key: every third text has none, and not each has every cell.
func rowOf(key string) (number, word, since cell, ok bool) {
	for i, t := range someTexts() {
		if t != key || i%3 == 2 {
			continue
		}
		if i%2 == 0 {
			number = someNumbers()[i%len(someNumbers())]
		}
		if i%4 != 0 {
			word = someTexts()[(i+5)%len(someTexts())]
		}
		if i%5 != 0 {
			since = someTimes()[i%len(someTimes())]
		}
		return number, word, since, true
	}
	return nil, nil, nil, false
}

// evalEnriched is the value of a cell or a bucket; x is there.
func evalEnriched(t *tree, x cell) (cell, bool) {
	switch t.op {
	case "cell":
		number, word, since, _ := rowOf(as[string](x))
		return map[string]cell{"number": number, "word": word, "since": since}[t.name], true
	case "bucketize":
		v, last := as[float64](x), len(t.extra)-1
		for i := range last {
			low, high := readSplit(t.extra[i]), readSplit(t.extra[i+1])
			if low <= v && (v < high || i == last-1 && v == high) {
				return float64(i), true
			}
		}
		return nil, true
	}
	return nil, false
}

func readSplit(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return x
}

// randomLookup is the table of rowOf.
type randomLookup struct{}

func (randomLookup) Row(_, _ int, key record.Text) *record.Row {
	number, word, since, ok := rowOf(key.S)
	if !ok || !key.OK {
		return nil
	}
	r := &record.Row{Numbers: []float64{nan()}, Texts: []record.Text{{}}, Times: []int64{missingTime}}
	if number != nil {
		r.Numbers[0] = as[float64](number)
	}
	if word != nil {
		r.Texts[0] = record.Text{S: as[string](word), OK: true}
	}
	if since != nil {
		r.Times[0] = as[time.Time](since).UnixMicro()
	}
	return r
}

func enrichmentOf(rows []row) Enrichment {
	e := Enrichment{Rows: randomLookup{}}
	for _, name := range []string{"win.m", "win.n"} {
		column := make([]float64, len(rows))
		for i, r := range rows {
			if column[i] = nan(); r[name] != nil {
				column[i] = as[float64](r[name])
			}
		}
		e.Windows = append(e.Windows, column)
	}
	return e
}
