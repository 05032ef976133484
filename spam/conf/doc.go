// Package conf reads the configuration of SpamAssassin: the files *.pre and *.cf with
// rules, scores, lists, settings and templates, as Mail::SpamAssassin::Conf (4.0)
// defines them, and the preferences of users.
//
// Nothing is passed over in silence: a line that can not be obeyed is a Problem with
// its file and line, and a rule that can not run says why.
package conf
