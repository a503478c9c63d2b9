package feature

import (
	"math"

	"millrace.dev/internal/detmath"
)

// earthRadius is the mean radius of the Earth in kilometres, R1 of the GRS 80 ellipsoid.
const earthRadius = 6371.0088

// longitude is x where that is a longitude in degrees.
func longitude(x float64) float64 {
	if x >= -180 && x <= 180 {
		return x
	}
	return nan()
}

// haversine is the distance of two points on a sphere like the Earth, in kilometres, from their latitudes and the
// difference of their longitudes in degrees. The haversine alone is not accurate for points that are nearly opposite; the
// one of the opposite point is as well known, so that the angle is taken from both.
func haversine(lat1, lat2, dlon float64) float64 {
	if !(lat1 >= -90 && lat1 <= 90 && lat2 >= -90 && lat2 <= 90) {
		return nan()
	}
	square := func(x float64) float64 { return float64(x * x) }
	cosines := float64(detmath.CosTurns(lat1/360) * detmath.CosTurns(lat2/360))
	near := square(detmath.SinTurns((lat1-lat2)/720)) + float64(cosines*square(detmath.SinTurns(dlon/720)))
	far := square(detmath.SinTurns((lat1+lat2)/720)) + float64(cosines*square(detmath.CosTurns(dlon/720)))
	return float64(2 * earthRadius * detmath.Atan2(math.Sqrt(near), math.Sqrt(far)))
}

// haversine checks haversine(lat1, lon1, lat2, lon2).
func (s *scope) haversine(c *call) ref {
	a, ok := s.allNumbers(c)
	if !ok {
		return ref{}
	}
	lon1, lon2 := s.apply(c.node, "longitude", nil, a[1]), s.apply(c.node, "longitude", nil, a[3])
	return s.apply(c.node, "haversine", nil, a[0], a[2], s.apply(c.node, "sub", nil, lon1, lon2))
}

const maxGeohash = 12

func geohash(dst []text, lat, lon, precision []float64, mem *arena) {
	lat, lon, precision = lat[:len(dst)], lon[:len(dst)], precision[:len(dst)]
	for i := range dst {
		dst[i] = geohashOne(lat[i], lon[i], precision[i], mem)
	}
}

// geohashOne is the geohash of a point: its cell among cells that are halved in turns, by longitude first, written five
// bits a letter (G. Niemeyer, 2008, geohash.org). All ends of the cells are float64.
func geohashOne(lat, lon, precision float64, mem *arena) text {
	const letters = "0123456789bcdefghjkmnpqrstuvwxyz"
	n := int(min(max(precision, 0), maxGeohash+1))
	if !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) || float64(n) != precision || n < 1 || n > maxGeohash {
		return text{}
	}
	out := mem.grow(maxGeohash)
	low, high := [2]float64{-180, -90}, [2]float64{180, 90}
	at := [2]float64{lon, lat}
	axis := 0
	for range n {
		letter := 0
		for range 5 {
			middle := float64(0.5 * (low[axis] + high[axis]))
			letter <<= 1
			if at[axis] >= middle {
				letter, low[axis] = letter|1, middle
			} else {
				high[axis] = middle
			}
			axis = 1 - axis
		}
		out = append(out, letters[letter])
	}
	return mem.keep(out)
}
