package source

import (
	"bytes"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"millrace.dev/internal/house"
)

// makeParquet writes rows with the library.
func makeParquet[T any](tb testing.TB, rows []T, o ...parquet.WriterOption) string {
	tb.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b, o...)
	if _, err := w.Write(rows); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// saleRow is a sale in a Parquet file.
type saleRow struct {
	ID           int64     `parquet:"id"`
	Date         time.Time `parquet:"date,timestamp(microsecond)"`
	Price        float64   `parquet:"price"`
	Bedrooms     float64   `parquet:"bedrooms,dict"`
	Bathrooms    float64   `parquet:"bathrooms,dict"`
	SqftLiving   int32     `parquet:"sqft_living"`
	SqftLot      int32     `parquet:"sqft_lot"`
	Floors       float64   `parquet:"floors,dict"`
	Waterfront   int32     `parquet:"waterfront,dict"`
	View         int32     `parquet:"view,dict"`
	Condition    int32     `parquet:"condition,dict"`
	SqftAbove    int32     `parquet:"sqft_above"`
	SqftBasement int32     `parquet:"sqft_basement"`
	YrBuilt      int32     `parquet:"yr_built,dict"`
	YrRenovated  int32     `parquet:"yr_renovated,dict"`
	Street       string    `parquet:"street"`
	City         string    `parquet:"city,dict"`
	StateZip     string    `parquet:"statezip,dict"`
	Country      string    `parquet:"country,dict"`
}

func saleParquet(tb testing.TB, sales []house.Sale) string {
	tb.Helper()
	rows := make([]saleRow, len(sales))
	for i, s := range sales {
		rows[i] = saleRow{
			s.ID, s.Date, s.Price, s.Bedrooms, s.Bathrooms, int32(s.SqftLiving), int32(s.SqftLot), s.Floors, int32(s.Waterfront), int32(s.View), int32(s.Condition),
			int32(s.SqftAbove), int32(s.SqftBasement), int32(s.YrBuilt), int32(s.YrRenovated), s.Street, s.City, s.StateZip, s.Country,
		}
	}
	return makeParquet(tb, rows, parquet.Compression(&parquet.Snappy))
}
