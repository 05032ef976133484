keep;
kep;
