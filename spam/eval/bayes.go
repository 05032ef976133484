package eval

import (
	"fmt"
	"strconv"

	"mtad/spam/bayes"
	"mtad/spam/conf"
	"mtad/spam/scan"
)

// bayesEval are the functions of Bayes, and of TxRep.
var bayesEval = map[string]Func{"check_bayes": checkBayes, "check_senders_reputation": sendersReputation}

// sendersReputation never hits by itself: TxRep comes behind all rules (mtad/spam asks it).
func sendersReputation(s *scan.Scan, _ *conf.Rule, _ []string) (float64, error) {
	if s.Rules.Bool("use_txrep") && s.Facts.Reputation == nil {
		return 0, Unknown("nothing is known of senders: there is no store")
	}
	return 0, nil
}

// checkBayes compares the probability of spam with bounds, of which the upper may be "undef".
func checkBayes(s *scan.Scan, r *conf.Rule, args []string) (float64, error) {
	if !s.Rules.Bool("use_learner") || !s.Rules.Bool("use_bayes") || !s.Rules.Bool("use_bayes_rules") {
		return 0, nil
	}
	found, err := bayesOf(s)
	if err != nil {
		return 0, err
	}
	least, _ := strconv.ParseFloat(arg(args, 0), 64)
	most, err := strconv.ParseFloat(arg(args, 1), 64)
	if err != nil {
		most = 1
	}
	if !found.Between(least, most) {
		return 0, nil
	}
	s.Note(r.Name, fmt.Sprintf("score: %3.4f", found.Probability))
	return 1, nil
}

// bayesOf asks Bayes once for each message.
func bayesOf(s *scan.Scan) (*bayes.Result, error) {
	type answer struct {
		*bayes.Result
		error
	}
	if a, ok := s.Keep["bayes"].(answer); ok {
		return a.Result, a.error
	}
	r, err := askBayes(s)
	s.Keep["bayes"] = answer{r, err}
	if err != nil {
		return nil, err
	}
	s.Bayes = r
	for name, value := range r.Tags() {
		s.SetTag(name, value)
	}
	return r, nil
}

func askBayes(s *scan.Scan) (*bayes.Result, error) {
	switch {
	case s.Facts.Bayes == nil:
		return nil, Unknown("nothing is learned: there is no store")
	case s.BayesIgnores():
		return &bayes.Result{Reason: "bayes_ignore_from or bayes_ignore_to"}, nil
	}
	settings := s.BayesSettings()
	return settings.Score(s.Context, s.Facts.Bayes, settings.Tokens(s.BayesInput(settings, true)))
}
