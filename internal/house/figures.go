package house

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// zipTable has a line for each zip code: its city, its effect on the logarithm of the price and its share of
// the sales.
//
//go:embed zips.csv
var zipTable string

type zip struct {
	statezip, city string
	effect         float64
}

// figures are the fitted summary figures that are not coefficients. Shares are cumulative; tables by era have
// an entry for the years up to each of eras, and one for those after the last; tables by region have one for
// outside and one for inCity.
type figures struct {
	zips      []zip
	zipShares []float64

	eras    []int
	deciles []float64
	yrBuilt [2][]float64 // deciles, by region

	twoFloors   []float64   // by era: the log odds of two or more floors for the typical size
	oneAndHalf  []float64   // by era: the share of 1.5 among houses below 2 floors
	upperFloors [][]float64 // by era: 2, 2.5, 3
	townHouse   []float64   // 2, 2.5, 3

	lotAt                  []float64
	lotNoise               [2][]float64 // by region: the logarithm of the lot, around its median, at lotAt
	waterViews             []float64    // 2, 3, 4
	smallViews, largeViews []float64    // 1, 2, 3, 4
	conditions             [][]float64
	renovated              []float64 // by era
	renovatedAt            []float64
	yrRenovated            []float64

	streets, streetKinds, streetSides []string
}

func newFigures() (*figures, error) {
	f := &figures{
		eras:    []int{1940, 1960, 1980, 2000},
		deciles: []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1},
		yrBuilt: [2][]float64{
			{1900, 1959, 1967, 1974, 1979, 1985, 1990, 1996, 2003, 2006, 2014},
			{1900, 1911, 1924, 1935, 1943, 1949, 1955, 1964, 1994, 2007, 2014},
		},
		twoFloors:  []float64{-2.06, -2.90, -2.14, 0.77, 2.17},
		oneAndHalf: []float64{0.49, 0.09, 0.047, 0.087, 0.148},
		upperFloors: [][]float64{
			{0.854, 0.981, 1}, {0.958, 0.986, 1}, {0.967, 0.974, 1}, {0.977, 0.985, 1}, {0.959, 0.974, 1},
		},
		townHouse: []float64{0.65, 0.66, 1},
		lotAt:     []float64{0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1},
		lotNoise: [2][]float64{
			{-2.0, -1.22, -0.68, -0.49, -0.26, 0, 0.40, 1.28, 1.79, 3.01, 4.3},
			{-1.4, -0.97, -0.66, -0.52, -0.27, 0, 0.30, 0.55, 0.71, 1.19, 3.1},
		},
		waterViews:  []float64{0.14, 0.31, 1},
		smallViews:  []float64{0.20, 0.75, 0.94, 1},
		largeViews:  []float64{0.13, 0.55, 0.87, 1},
		renovated:   []float64{0.567, 0.695, 0.390, 0.255, 0.189},
		renovatedAt: []float64{0, 0.25, 0.5, 0.75, 1},
		yrRenovated: []float64{1970, 1990, 2001, 2006, 2014},
		conditions: [][]float64{
			{0.005, 0.017, 0.426, 0.767, 1},
			{0.001, 0.014, 0.479, 0.857, 1},
			{0.001, 0.011, 0.424, 0.891, 1},
			{0, 0.001, 0.790, 0.979, 1},
			{0, 0, 0.990, 0.998, 1},
		},
		streets: strings.Fields("Aldermoor Brackenfell Brindlewick Copperfell Dapplewood Dunmarrow Eastermill Fennelworth " +
			"Finchmoor Gorsewick Hartlemere Hazelbourne Juniperfell Kestrelmoor Larkenby Lindenfell Marlowick Millrace " +
			"Nettlebourne Oakenmere Pearlwick Quillmoor Rowanfell Saltmarrow Tamberley Thistlewick Underfell Willowmarsh"),
		streetKinds: []string{"St", "Ave", "Pl", "Ct", "Ln", "Way"},
		streetSides: []string{"N", "NE", "E", "SE", "S", "SW", "W", "NW"},
	}
	return f, f.readZips()
}

func (f *figures) readZips() error {
	total := 0.0
	for line := range strings.Lines(strings.SplitN(zipTable, "\n", 2)[1]) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if len(cells) != 4 {
			return fmt.Errorf("house: zips.csv: %d cells in a line: want 4", len(cells))
		}
		effect, err := strconv.ParseFloat(cells[2], 64)
		if err != nil {
			return fmt.Errorf("house: zips.csv: effect: %w", err)
		}
		share, err := strconv.ParseFloat(cells[3], 64)
		if err != nil {
			return fmt.Errorf("house: zips.csv: share: %w", err)
		}
		total += share
		f.zips = append(f.zips, zip{statezip: cells[0], city: cells[1], effect: effect})
		f.zipShares = append(f.zipShares, total)
	}
	for i := range f.zipShares {
		f.zipShares[i] /= total
	}
	return nil
}
