package house

import (
	"math"
	"strconv"
	"time"

	"millrace.dev/internal/detmath"
)

// Sale is the sale of a house. Ranges are those of [Generator.Sale]. Areas are in square feet, prices in US dollars.
type Sale struct {
	ID           int64     // the number of the sale: the argument of [Generator.Sale]
	Date         time.Time // midnight UTC
	Price        float64   // a multiple of 100
	Bedrooms     float64   // 1 to 9
	Bathrooms    float64   // a multiple of 0.25
	SqftLiving   int       // SqftAbove + SqftBasement
	SqftLot      int
	Floors       float64 // 1, 1.5, 2, 2.5 or 3
	Waterfront   int     // 0 or 1
	View         int     // 0 (none) to 4
	Condition    int     // 1 to 5
	SqftAbove    int
	SqftBasement int // 0 without a basement
	YrBuilt      int
	YrRenovated  int    // 0 if never
	Street       string // made up
	City         string // of the zip code
	StateZip     string // "WA 98103"
	Country      string // "USA"

	// LogPrice is the mean of the logarithm of the price of such a house: what the other columns say about
	// the price. Price is e**LogPrice times noise.
	LogPrice float64
}

// BestPrediction returns the mean price of houses like s: no prediction from the columns of s has a smaller
// expected squared error.
func (s *Sale) BestPrediction() float64 { return float64(meanNoise * detmath.Exp(s.LogPrice)) }

// Ceiling returns R2, the coefficient of determination, of [Sale.BestPrediction] over sales: what a perfect
// model reaches on them. A model can be above it on few sales, by luck. It is NaN where R2 is not defined:
// without sales, and where all prices are equal.
func Ceiling(sales []Sale) float64 {
	mean := 0.0
	for i := range sales {
		mean += sales[i].Price
	}
	mean /= float64(len(sales))
	var left, all float64
	for i := range sales {
		e, d := sales[i].Price-sales[i].BestPrediction(), sales[i].Price-mean
		left += float64(e * e)
		all += float64(d * d)
	}
	if all == 0 {
		return math.NaN()
	}
	return 1 - left/all
}

// CSVHeader is the first line of a file whose other lines [Sale.AppendCSV] writes.
const CSVHeader = "date,price,bedrooms,bathrooms,sqft_living,sqft_lot,floors,waterfront,view,condition,sqft_above,sqft_basement," +
	"yr_built,yr_renovated,street,city,statezip,country\n"

// AppendCSV appends s as a line of CSV, newline included, with the columns of [CSVHeader]. No cell needs quotes.
func (s *Sale) AppendCSV(dst []byte) []byte {
	dst = s.Date.AppendFormat(dst, time.DateTime)
	for _, x := range [...]float64{s.Price, s.Bedrooms, s.Bathrooms} {
		dst = appendDecimal(append(dst, ','), x)
	}
	dst = appendInts(dst, s.SqftLiving, s.SqftLot)
	dst = appendDecimal(append(dst, ','), s.Floors)
	dst = appendInts(dst, s.Waterfront, s.View, s.Condition, s.SqftAbove, s.SqftBasement, s.YrBuilt, s.YrRenovated)
	for _, t := range [...]string{s.Street, s.City, s.StateZip, s.Country} {
		dst = append(append(dst, ','), t...)
	}
	return append(dst, '\n')
}

func appendInts(dst []byte, values ...int) []byte {
	for _, v := range values {
		dst = strconv.AppendInt(append(dst, ','), int64(v), 10)
	}
	return dst
}

// appendDecimal appends a number that is a multiple of 0.01 as a column of decimals is commonly written: 3.0, 2.25.
func appendDecimal(dst []byte, x float64) []byte {
	n := len(dst)
	dst = strconv.AppendFloat(dst, x, 'f', -1, 64)
	if x == math.Trunc(x) && len(dst) > n {
		dst = append(dst, ".0"...)
	}
	return dst
}

// AppendKey appends the text of s.ID that stands in JSON, without quotes: "house-0000042". It serves as the
// key of a Kafka record.
func (s *Sale) AppendKey(dst []byte) []byte {
	dst = append(dst, "house-"...)
	for n := int64(1_000_000); n > max(s.ID, 1); n /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, s.ID, 10)
}

// AppendJSON appends s, price included, as a JSON object in one line, without a newline.
func (s *Sale) AppendJSON(dst []byte) []byte {
	dst = s.appendHead(dst)
	dst = append(dst, `, "price": `...)
	dst = appendDecimal(dst, s.Price)
	return s.appendTail(dst)
}

// AppendListing appends s as [Sale.AppendJSON] does, without the price: a house that is for sale.
func (s *Sale) AppendListing(dst []byte) []byte { return s.appendTail(s.appendHead(dst)) }

func (s *Sale) appendHead(dst []byte) []byte {
	dst = s.AppendKey(append(dst, `{"id": "`...))
	dst = s.Date.AppendFormat(append(dst, `", "date": "`...), time.DateTime)
	return append(dst, '"')
}

func (s *Sale) appendTail(dst []byte) []byte {
	dst = appendDecimal(append(dst, `, "bedrooms": `...), s.Bedrooms)
	dst = appendDecimal(append(dst, `, "bathrooms": `...), s.Bathrooms)
	dst = appendInt(append(dst, `, "sqft_living": `...), s.SqftLiving)
	dst = appendInt(append(dst, `, "sqft_lot": `...), s.SqftLot)
	dst = appendDecimal(append(dst, `, "floors": `...), s.Floors)
	dst = appendInt(append(dst, `, "waterfront": `...), s.Waterfront)
	dst = appendInt(append(dst, `, "view": `...), s.View)
	dst = appendInt(append(dst, `, "condition": `...), s.Condition)
	dst = appendInt(append(dst, `, "sqft_above": `...), s.SqftAbove)
	dst = appendInt(append(dst, `, "sqft_basement": `...), s.SqftBasement)
	dst = appendInt(append(dst, `, "yr_built": `...), s.YrBuilt)
	dst = appendInt(append(dst, `, "yr_renovated": `...), s.YrRenovated)
	dst = append(append(dst, `, "street": "`...), s.Street...)
	dst = append(append(dst, `", "city": "`...), s.City...)
	dst = append(append(dst, `", "statezip": "`...), s.StateZip...)
	dst = append(append(dst, `", "country": "`...), s.Country...)
	return append(dst, `"}`...)
}

func appendInt(dst []byte, v int) []byte { return strconv.AppendInt(dst, int64(v), 10) }
