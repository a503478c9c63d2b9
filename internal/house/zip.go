package house

import (
	"math"
	"strconv"
	"time"

	"millrace.dev/internal/detmath"
)

// Zip is what a table of reference data says of a zip code. The figures are made up: they go with the prices of the zip code
// as such figures do, and are those of no real place.
type Zip struct {
	Code         string  // "98103": the digits of a StateZip
	City         string  // of the sales
	MedianIncome int     // of a household, in US dollars a year, a multiple of 100
	MedianAge    float64 // in years, a multiple of 0.1
	Density      int     // people per square mile, a multiple of 10
}

// Zips returns the zip codes of the sales, in the order of their codes. They are the same for every seed.
func (g *Generator) Zips() []Zip {
	zips := make([]Zip, len(g.f.zips))
	for i := range g.f.zips {
		z := &g.f.zips[i]
		d := draft{rng: newRNG(zipSeed, uint64(i)), figures: g.f}
		wealth := (z.effect - 13.017) / 0.375
		crowd := 7.6
		if z.city == "Seattle" {
			crowd = 8.9
		}
		zips[i] = Zip{
			Code: z.statezip[len("WA "):], City: z.city,
			MedianIncome: int(nearest(detmath.Exp(11.25+float64(0.28*wealth)+float64(0.05*d.normal())), 100)),
			MedianAge:    nearest(clamp(37.5+float64(1.8*wealth)+float64(1.5*d.normal()), 20, 60), 0.1),
			Density:      int(nearest(detmath.Exp(crowd+float64(0.4*d.normal())), 10)),
		}
	}
	return zips
}

// zipSeed chooses the figures of zip codes.
const zipSeed = 98000

// ZipCSVHeader is the header of a CSV file of zip codes, with its line feed.
const ZipCSVHeader = "zip,city,median_income,median_age,density\n"

// AppendCSV appends z as a row under [ZipCSVHeader].
func (z *Zip) AppendCSV(dst []byte) []byte {
	dst = append(append(append(append(dst, z.Code...), ','), z.City...), ',')
	dst = strconv.AppendInt(dst, int64(z.MedianIncome), 10)
	dst = strconv.AppendFloat(append(dst, ','), z.MedianAge, 'f', 1, 64)
	dst = strconv.AppendInt(append(dst, ','), int64(z.Density), 10)
	return append(dst, '\n')
}

// AppendKey appends the key of z's record in a changelog topic of Debezium.
func (z *Zip) AppendKey(dst []byte) []byte {
	dst = append(dst, `{"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"zip"}],"optional":false,"name":"reference.zipcodes.Key"},"payload":{"zip":"`...)
	return append(append(dst, z.Code...), `"}}`...)
}

// The operations of [Zip.AppendChange].
const (
	ZipRead   = "r" // a row of a snapshot
	ZipCreate = "c"
	ZipUpdate = "u"
	ZipDelete = "d"
)

// AppendChange appends the value of a record in a changelog topic as Debezium writes it, around z: the row after the
// operation, or before a delete. at is when the database made the change.
func (z *Zip) AppendChange(dst []byte, op string, at time.Time) []byte {
	row := z.appendRow(nil)
	before, after := []byte("null"), row
	if op == ZipDelete {
		before, after = row, before
	}
	dst = append(dst, zipEnvelope...)
	dst = append(append(dst, `"payload":{"before":`...), before...)
	dst = append(append(dst, `,"after":`...), after...)
	dst = append(dst, `,"source":{"version":"3.0.0.Final","connector":"postgresql","name":"reference","ts_ms":`...)
	dst = strconv.AppendInt(dst, at.UnixMilli(), 10)
	dst = append(dst, `,"snapshot":"`...)
	dst = strconv.AppendBool(dst, op == ZipRead)
	dst = append(append(dst, `","db":"places","schema":"public","table":"zipcodes"},"op":"`...), op...)
	dst = strconv.AppendInt(append(dst, `","ts_ms":`...), at.UnixMilli()+5, 10)
	return append(dst, "}}"...)
}

func (z *Zip) appendRow(dst []byte) []byte {
	dst = append(append(append(dst, `{"zip":"`...), z.Code...), `","city":"`...)
	dst = append(append(dst, z.City...), `","median_income":`...)
	dst = strconv.AppendInt(dst, int64(z.MedianIncome), 10)
	dst = strconv.AppendFloat(append(dst, `,"median_age":`...), math.Round(z.MedianAge*10)/10, 'f', 1, 64)
	return append(strconv.AppendInt(append(dst, `,"density":`...), int64(z.Density), 10), '}')
}

// zipEnvelope is the schema with which Debezium's JSON converter begins a value, unless it is told not to.
const zipEnvelope = `{"schema":{"type":"struct","fields":[` +
	`{"type":"struct","fields":[{"type":"string","optional":false,"field":"zip"},{"type":"string","optional":true,"field":"city"},` +
	`{"type":"int32","optional":true,"field":"median_income"},{"type":"double","optional":true,"field":"median_age"},` +
	`{"type":"int32","optional":true,"field":"density"}],"optional":true,"name":"reference.zipcodes.Value","field":"after"},` +
	`{"type":"string","optional":false,"field":"op"}],"optional":false,"name":"reference.zipcodes.Envelope"},`
