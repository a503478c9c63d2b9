package house

import (
	"math"
	"strconv"

	"millrace.dev/internal/detmath"
)

// draft is a sale in the making. Its draw methods are called in the order of [Generator.Sale]: later columns
// depend on earlier ones. A product is rounded on its own before it is added, here and everywhere in the
// package, since a fused multiplication and addition would give other bits on some machines.
type draft struct {
	Sale
	rng
	*figures

	zip    *zip
	wealth float64 // the zip's effect on the price, in standard deviations of all zips
	region int     // inCity or outside
	era    int     // of the year built, an index of the figures' tables
	age    float64 // (year built - 1970.8) / 30
	size   float64 // the logarithm of the living area over that of the typical house
}

const (
	outside = 0
	inCity  = 1
)

// typicalSize is the mean of the logarithm of the living area in square feet.
const typicalSize = 7.576

// drawPlace draws the zip code and the year built.
func (d *draft) drawPlace() {
	d.settle(&d.zips[d.pick(d.zipShares)])
	d.region = outside
	if d.City == "Seattle" {
		d.region = inCity
	}
	d.YrBuilt = int(math.Round(d.quantile(d.deciles, d.yrBuilt[d.region])))
	for d.era < len(d.eras) && d.YrBuilt > d.eras[d.era] {
		d.era++
	}
	d.age = (float64(d.YrBuilt) - 1970.8) / 30
}

// settle puts the house in a zip code.
func (d *draft) settle(z *zip) {
	d.zip, d.City, d.StateZip = z, z.city, z.statezip
	d.wealth = (z.effect - 13.017) / 0.375
}

// drawSize draws the areas and the number of floors.
func (d *draft) drawSize() {
	city := float64(d.region)
	log := 7.679 + float64(0.105*d.age) + float64(0.124*d.wealth) - float64(0.244*city) + float64(0.384*d.normal())
	living := clamp(nearest(detmath.Exp(log), 10), 370, 10_000)
	d.SqftLiving = int(living)
	d.measure()

	d.Floors = d.drawFloors(living)
	basement := 0.0
	if d.chance(logistic(d.basementOdds())) {
		share := 0.35 + float64(0.09*d.size) + float64(0.096*d.normal())
		if d.Floors >= 2 {
			share -= 0.146
		}
		basement = nearest(living*clamp(share, 0.02, 0.55), 10)
	}
	d.SqftBasement = int(basement)
	d.SqftAbove = d.SqftLiving - d.SqftBasement
	d.SqftLot = int(math.Round(clamp(detmath.Exp(d.logLot()), 600, 1_100_000)))
}

// measure sets the size to that of the living area.
func (d *draft) measure() { d.size = detmath.Log(float64(d.SqftLiving)) - typicalSize }

func (d *draft) drawFloors(living float64) float64 {
	odds := d.twoFloors[d.era] + float64(3.2*d.size) + float64(0.401*float64(d.region)) + float64(0.383*d.wealth)
	if !d.chance(logistic(odds)) {
		if d.chance(d.oneAndHalf[d.era]) {
			return 1.5
		}
		return 1
	}
	upper := d.upperFloors[d.era]
	if d.era == len(d.eras) && living < 1800 { // new and small: a town house
		upper = d.townHouse
	}
	return 2 + float64(0.5*float64(d.pick(upper)))
}

// basementOdds returns the logarithm of the odds of a basement.
func (d *draft) basementOdds() float64 {
	odds := float64(0.356*d.wealth) + float64(0.288*d.age)
	city := float64(d.region)
	if d.Floors >= 2 {
		return odds - 2.65 + float64(2.1*city) + float64(4*max(d.size-0.3, 0))
	}
	return odds + 0.95 + float64(1.3*city) + float64(5.5*min(d.size, 0)) + float64(2*max(d.size, 0))
}

// logLot returns the logarithm of the lot's area. In the city lots are much alike; outside some are farms.
func (d *draft) logLot() float64 {
	floors := d.Floors - 1.5
	if d.region == inCity {
		return 8.69 + float64(0.663*d.size) - float64(0.442*floors) - float64(0.347*d.wealth) - float64(0.158*d.age) + d.quantile(d.lotAt, d.lotNoise[inCity])
	}
	return 9.285 + float64(0.807*d.size) - float64(0.109*floors) - float64(0.061*d.wealth) - float64(0.512*d.age) + d.quantile(d.lotAt, d.lotNoise[outside])
}

// drawOutlook draws the waterfront and the view.
func (d *draft) drawOutlook() {
	if d.chance(logistic(-5.383 + float64(2.062*d.size) - float64(0.349*d.wealth))) {
		d.Waterfront = 1
		d.View = 2 + d.pick(d.waterViews)
		return
	}
	basement := 0.0
	if d.SqftBasement > 0 {
		basement = 1
	}
	odds := -3.609 + float64(2.540*d.size) + float64(1.060*float64(d.region)) - float64(0.061*d.wealth) + float64(0.940*basement)
	if !d.chance(logistic(odds)) {
		return
	}
	views := d.smallViews
	if d.SqftLiving > 2440 {
		views = d.largeViews
	}
	d.View = 1 + d.pick(views)
}

// drawRooms draws the bedrooms and the bathrooms.
func (d *draft) drawRooms() {
	log := d.size + typicalSize
	d.Bedrooms = clamp(math.Round(-6.92+float64(1.362*log)+float64(0.62*d.normal())), 1, 9)
	twoUp := d.Floors >= 2
	if twoUp && d.YrBuilt > 1980 && d.chance(0.55) { // the common plan of a new house
		d.Bathrooms = 2.5
		return
	}
	baths := 0.839 + float64(0.571*float64(d.SqftLiving)/1000) + float64(0.148*d.age) + float64(0.47*d.normal())
	if twoUp {
		baths += 0.285
	}
	d.Bathrooms = clamp(nearest(baths, 0.25), 0.75, 8)
}

// drawUpkeep draws the condition and the year of the renovation.
func (d *draft) drawUpkeep() {
	d.Condition = 1 + d.pick(d.conditions[d.era])
	if d.chance(d.renovated[d.era]) {
		d.YrRenovated = max(d.YrBuilt, int(math.Round(d.quantile(d.renovatedAt, d.yrRenovated))))
	}
}

// drawStreet draws a house number and a street of which no real one has the name.
func (d *draft) drawStreet() {
	var buf [48]byte
	b := strconv.AppendInt(buf[:0], int64(100+d.below(29_900)), 10)
	for _, words := range [...][]string{d.streets, d.streetKinds, d.streetSides} {
		b = append(b, ' ')
		b = append(b, words[d.below(len(words))]...)
	}
	d.Street = string(b)
}

// drawPrice draws the price around its mean.
func (d *draft) drawPrice() {
	d.LogPrice = d.logPrice()
	noise := min(max(d.student6()*unitStudent6, -maxNoise), maxNoise)
	d.Price = nearest(detmath.Exp(d.LogPrice+float64(sigma*noise)), 100)
}

// logPrice returns the mean of the logarithm of the price. It is a function of the columns of the sale: what
// it leaves out is noise. The last two terms are interactions, which a linear model cannot find.
func (d *draft) logPrice() float64 {
	size := d.size + (typicalSize - ln2000)
	age := float64(2014-d.YrBuilt)/50 - 0.86
	p := d.zip.effect - 0.03
	p += float64(0.685 * size)
	p += float64(0.071 * (detmath.Log(float64(d.SqftLot)) - ln7700))
	p += float64(0.045 * (d.Bathrooms - 2.16))
	p -= float64(0.032 * (d.Bedrooms - 3.4))
	p += float64(0.085 * float64(d.View))
	p += float64(0.415 * float64(d.Waterfront))
	p += float64(0.066 * float64(d.Condition-3))
	p -= float64(0.082 * age)
	p += float64(0.093 * float64(age*age))
	p -= float64(0.354 * float64(d.SqftBasement) / float64(d.SqftLiving))
	p -= float64(0.049 * (d.Floors - 1.5))
	if d.YrRenovated > 0 {
		p += 0.023
	}
	if d.View >= 3 {
		p += float64(0.10 * size)
	}
	return p + float64(0.06*float64(max(d.wealth, 0)*size))
}

// The logarithms of the living area and the lot at which their effect on the price is 0.
const (
	ln2000 = 7.600902459542082
	ln7700 = 8.948975607841776
)

// nearest rounds x to a multiple of unit.
func nearest(x, unit float64) float64 { return float64(math.Round(x/unit) * unit) }

func clamp(x, low, high float64) float64 { return min(max(x, low), high) }
