package house

// MockStateZip is the zip code of every house of [Generator.Mock].
const MockStateZip = "WA 98155"

// What a mock house is drawn from: whole numbers, both bounds included.
const (
	mockFloors    = 2
	mockCondition = 3
	mockLeast     = 1000 // square feet
	mockMost      = 3000
	mockBuilt     = 1900
	mockBuiltLast = 1979
	mockBedrooms  = 5 // from 1
	mockBathrooms = 3 // from 1
)

// Mock returns house i as a mock producer makes it up that somebody wrote to have something on the topic, and not by
// looking at the data: right in form, and in nothing else. Each number is a whole one, drawn evenly and independently of
// all others: floors from 0 to 2, the condition from 0 to 3, the living area and the lot each from 1000 to 3000 square
// feet, the year built from 1900 to 1979, bedrooms from 1 to 5, bathrooms from 1 to 3. All stand in one zip code,
// [MockStateZip], without a basement, a view or a waterfront, and none was renovated. Date and street are as those of
// [Generator.Sale].
//
// Nobody has bought such a house. Its price is what the generator has it cost: by the same formula of its columns and with
// the same noise as that of a sale.
func (g *Generator) Mock(i int64) Sale {
	d := draft{rng: newRNG(g.seed^mockSeed, uint64(i)), figures: g.f}
	d.ID, d.Date, d.Country, d.StateZip = i, g.date(i), "USA", MockStateZip
	for k := range d.zips {
		if z := &d.zips[k]; z.statezip == MockStateZip {
			d.settle(z)
		}
	}
	d.Floors = float64(d.between(0, mockFloors))
	d.Condition = d.between(0, mockCondition)
	d.SqftLiving, d.SqftLot = d.between(mockLeast, mockMost), d.between(mockLeast, mockMost)
	d.SqftAbove = d.SqftLiving
	d.YrBuilt = d.between(mockBuilt, mockBuiltLast)
	d.Bedrooms, d.Bathrooms = float64(d.between(1, mockBedrooms)), float64(d.between(1, mockBathrooms))
	d.drawStreet()
	d.measure()
	d.drawPrice()
	return d.Sale
}

// mockSeed is what tells the draws of a mock house from those of the sale of the same number.
const mockSeed = 0x6d6f636b

// between returns a whole number from low to high.
func (r *rng) between(low, high int) int { return low + r.below(high-low+1) }
