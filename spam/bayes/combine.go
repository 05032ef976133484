package bayes

import "math"

// The constants of Robinson's f(w) and of the choice of tokens, as SpamAssassin has
// them for chi-square combining.
const (
	unknownProb  = 0.538 // of a token that was never seen
	strength     = 0.030 // how much that counts against what was seen
	minStrength  = 0.346 // the least distance from 0.5 of a token that counts
	significants = 150   // how many tokens count
)

// Probability is how spammy a token is: spam and ham are how many messages of each have
// it, of allSpam and allHam.
func Probability(spam, ham, allSpam, allHam int64) float64 {
	s, n := float64(spam), float64(ham)
	p := (s * float64(allHam)) / (n*float64(allSpam) + s*float64(allHam))
	return (unknownProb*strength + (s+n)*p) / (strength + s + n)
}

// Combine finds the probability of a message from those of its tokens, of which there
// must be one at least.
func Combine(allSpam, allHam int64, probs []float64) float64 {
	all := float64(allSpam + allHam)
	spam, ham := product{v: float64(allSpam) / all}, product{v: float64(allHam) / all}
	for _, p := range probs {
		spam.times(1 - p)
		ham.times(p)
	}
	s := 1 - chiSquare(-spam.log(), len(probs))
	h := 1 - chiSquare(-ham.log(), len(probs))
	return ((s - h) + 1) / 2
}

// product is a product of many small numbers.
type product struct {
	v   float64
	exp int
}

func (p *product) times(f float64) {
	if p.v *= f; p.v < 1e-200 {
		v, e := math.Frexp(p.v)
		p.v, p.exp = v, p.exp+e
	}
}

func (p *product) log() float64 { return math.Log(p.v) + float64(p.exp)*math.Ln2 }

// chiSquare is the chance that a chi-square of 2*half degrees of freedom is 2*m or more.
func chiSquare(m float64, half int) float64 {
	term := math.Exp(-m)
	sum := term
	for i := 1; i < half; i++ {
		term *= m / float64(i)
		sum += term
	}
	return math.Min(sum, 1)
}
