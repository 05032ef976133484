require ["replace"];
replace;
replace :subject 5 "x";
