package inspect

import "mtad/spam/conf"

const noLanguages = "TextCat: there is no file languages in the directories of the rules"

// Off says why a function can not be offered where these are the rules, "" if it can.
func Off(rs *conf.Ruleset, function string) string {
	if _, there := rs.Beside("languages"); function == "check_language" && !there {
		return noLanguages
	}
	return map[string]string{
		"check_access_database":          "AccessDB: databases of Berkeley DB are not read; reject or tag by the server's own lists",
		"check_uri_local_bl":             "URILocalBL: there is no database of countries",
		"check_from_in_auto_welcomelist": "AWL: its place is taken by TxRep",
		"check_from_in_auto_whitelist":   "AWL: its place is taken by TxRep",
	}[function]
}
