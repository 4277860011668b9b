"""What `pointnet-parts inspect` shows of a data set, before anything is trained on it.

sources.py         raw shapes, converted TFRecords or a pipeline's Examples as one stream of clouds
survey.py          one pass over that stream: counts, CloudValidator's own checks, clouds to draw
shape_view.py      one shape in full
terminal_table.py  both as tables on a terminal
page.py            both as an HTML page of pictures (page.html, shape_page.html)
wording.py         how both write names and numbers
inspection.py      puts these together
"""
