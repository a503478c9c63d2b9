package house

import (
	"fmt"
	"time"
)

// Options says which sales a [Generator] makes.
type Options struct {
	// Seed chooses the sales. Every seed is as good as another, 0 too.
	Seed uint64
	// History is the number of sales, from sale 0 on, that are spread in order over the 70 days from
	// 2014-05-02 on. Later sales fall, in order, into the 70 days after those, and start over at their
	// first day every History sales. At most 1e9. Default: 4600.
	History int
}

// DefaultHistory is the number of sales of the first 70 days when [Options] gives none.
const DefaultHistory = 4600

const maxHistory = 1_000_000_000

// Generator makes house sales. Sale i is a function of the seed, History and i alone, so that sales can be
// made in any order, twice, and by several goroutines: a Generator does not change and is safe for concurrent
// use.
type Generator struct {
	seed    uint64
	history int64
	f       *figures
}

// New returns a generator of the sales that o chooses.
func New(o Options) (*Generator, error) {
	if o.History < 0 || o.History > maxHistory {
		return nil, fmt.Errorf("house: a history of %d sales: want 0 to %d", o.History, maxHistory)
	}
	if o.History == 0 {
		o.History = DefaultHistory
	}
	f, err := newFigures()
	if err != nil {
		return nil, err
	}
	return &Generator{seed: o.Seed, history: int64(o.History), f: f}, nil
}

// CSV returns the first n sales as a CSV file: [CSVHeader] and a row for each.
func (g *Generator) CSV(n int) []byte {
	text := []byte(CSVHeader)
	for i := range int64(n) {
		s := g.Sale(i)
		text = s.AppendCSV(text)
	}
	return text
}

// Sale returns sale i. The first one is sale 0.
func (g *Generator) Sale(i int64) Sale {
	d := draft{rng: newRNG(g.seed, uint64(i)), figures: g.f}
	d.ID, d.Date, d.Country = i, g.date(i), "USA"
	d.drawPlace()
	d.drawSize()
	d.drawOutlook()
	d.drawRooms()
	d.drawUpkeep()
	d.drawStreet()
	d.drawPrice()
	return d.Sale
}

// The noise of the logarithm of a price: sigma times a Student t with six degrees of freedom that is scaled to
// variance 1 and cut off at ±maxNoise. Without the cut a price would have no mean: e**t has none.
const (
	sigma        = 0.175
	maxNoise     = 8.0
	unitStudent6 = 0.816496580927726 // the root of 4/6: t has variance 6/4
	// meanNoise is the mean of e**(sigma*noise): by this factor the mean of a price is above its median.
	meanNoise = 1.015495
)

// The pace of the sales. A week starts with the Friday on which the first period does; few sales are closed
// on its Saturday and Sunday.
const (
	weeks      = 10
	workWeight = 15
	restWeight = 1
	weekWeight = 5*workWeight + 2*restWeight
)

// date returns the day of sale i.
func (g *Generator) date(i int64) time.Time {
	first := int64(0)
	if i >= g.history {
		first = 7 * weeks
	}
	at := i % g.history * (weeks * weekWeight) / g.history
	week, at := at/weekWeight, at%weekWeight
	day := int64(0) // Friday
	if at >= workWeight+2*restWeight {
		day = 3 + (at-workWeight-2*restWeight)/workWeight
	} else if at >= workWeight {
		day = 1 + (at-workWeight)/restWeight
	}
	return time.Date(2014, time.May, 2+int(first+7*week+day), 0, 0, 0, 0, time.UTC)
}
