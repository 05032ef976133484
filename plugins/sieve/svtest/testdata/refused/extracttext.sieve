require ["extracttext", "foreverypart", "variables"];
extracttext "v";
