package demo

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/house"
)

// realSales takes the history from a file of real sales, and the houses to stream from its test part, which training
// measures the model on and does not learn from.
func (d *demo) realSales(n int) error {
	d.Show.Step("house sales")
	fault := func(err error) error {
		return &app.Error{
			Code: app.Usage, Op: "demo", Where: d.Data, Err: err,
			Hint: "the demo knows house sales with the columns " + strings.TrimSpace(house.CSVHeader) + "; for other data: millrace init",
		}
	}
	f, err := os.Open(d.Data)
	if err != nil {
		return &app.Error{Code: app.Usage, Op: "demo", Err: err}
	}
	defer f.Close() //nolint:errcheck // it was only read
	unseen, rows, err := readSales(f, d.split())
	if err != nil {
		return fault(err)
	}
	if len(unseen) == 0 {
		return fault(errors.New("no sale with a price in the test part"))
	}
	for i := range n {
		s := unseen[i%len(unseen)]
		s.ID = int64(i)
		d.sales = append(d.sales, s)
	}
	if d.data, err = filepath.Abs(d.Data); err != nil {
		return err
	}
	d.Show.Say("%v rows of %s;\n   the %v sales of the test part are streamed, over and over", int(rows), d.Data, len(unseen))
	return nil
}

// split is the one of the demo's pipeline file.
func (d *demo) split() batch.Split {
	return batch.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 42}
}

// readSales returns the sales of the test part that the pipeline file's `where` keeps, and the number of rows.
func readSales(r io.Reader, split batch.Split) (sales []house.Sale, rows int64, err error) {
	c := csv.NewReader(r)
	header, err := c.Read()
	if err != nil {
		return nil, 0, err
	}
	for name := range strings.SplitSeq(strings.TrimSpace(house.CSVHeader), ",") {
		if !slices.Contains(header, name) {
			return nil, 0, fmt.Errorf("there is no column %q", name)
		}
	}
	for ; ; rows++ {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return sales, rows, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if split.Part(rows) != batch.Test {
			continue
		}
		row := cellReader{header: header, cells: cells}
		s := row.sale()
		if row.err != nil {
			return nil, 0, fmt.Errorf("row %d: %w", rows+1, row.err)
		}
		if s.Price > 0 && s.Price < 5_000_000 {
			sales = append(sales, s)
		}
	}
}

// cellReader reads the cells of a row by column; err is the first failure.
type cellReader struct {
	header, cells []string
	err           error
}

func (c *cellReader) text(name string) string { return c.cells[slices.Index(c.header, name)] }

func (c *cellReader) number(name string) float64 {
	x, err := strconv.ParseFloat(c.text(name), 64)
	if err != nil && c.err == nil {
		c.err = fmt.Errorf("column %s: not a number", name)
	}
	return x
}

func (c *cellReader) sale() house.Sale {
	date, err := time.Parse(time.DateTime, c.text("date"))
	if err != nil {
		c.err = errors.New("column date: want a time such as 2014-05-02 00:00:00")
	}
	whole := func(name string) int { return int(c.number(name)) }
	return house.Sale{
		Date: date, Price: c.number("price"), Bedrooms: c.number("bedrooms"), Bathrooms: c.number("bathrooms"),
		SqftLiving: whole("sqft_living"), SqftLot: whole("sqft_lot"), Floors: c.number("floors"), Waterfront: whole("waterfront"),
		View: whole("view"), Condition: whole("condition"), SqftAbove: whole("sqft_above"), SqftBasement: whole("sqft_basement"),
		YrBuilt: whole("yr_built"), YrRenovated: whole("yr_renovated"), Street: c.text("street"), City: c.text("city"),
		StateZip: c.text("statezip"), Country: c.text("country"),
	}
}
