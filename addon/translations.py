"""German translation of the interface. A text that is missing here stays English.

Blender translates labels of operators in a context of their own. For another language add the same three tables and a
line in TABLE; tests/blender/test_translations.py lists the texts that lack a translation.
"""

from typing import Any

import bpy

OPERATORS = {
    "Add Camera": "Kamera hinzufügen",
    "Add Field": "Feld hinzufügen",
    "Allow Online Access": "Onlinezugriff erlauben",
    "Apply Remedy": "Abhilfe anwenden",
    "Cancel": "Abbrechen",
    "Cancel All": "Alle abbrechen",
    "Capture": "Aufnehmen",
    "Check": "Prüfen",
    "Choose an Existing Python": "Vorhandenes Python wählen",
    "Choose Another Folder": "Anderen Ordner wählen",
    "Choose another name": "Anderen Namen wählen",
    "Choose Folder": "Ordner wählen",
    "Choose Model": "Modell wählen",
    "Choose Python": "Python wählen",
    "Choose the device automatically": "Gerät automatisch wählen",
    "Choose Training": "Training wählen",
    "Clear History": "Verlauf leeren",
    "Clear Layers": "Ebenen zurücknehmen",
    "Clear Walk": "Wanderung entfernen",
    "Compare with the training views": "Mit den Trainingsansichten vergleichen",
    "Complete Depth Image": "Tiefenbild ergänzen",
    "Complete Scan": "Scan ergänzen",
    "Continue": "Fortsetzen",
    "Discard": "Verwerfen",
    "Dismiss": "Ausblenden",
    "Download the file again": "Datei neu herunterladen",
    "Download the files again": "Dateien neu herunterladen",
    "Export Shape": "Form ausgeben",
    "Favourite": "Favorit",
    "Find Cameras": "Kameras finden",
    "Fit": "Anpassen",
    "Fit a Radiance Field to Its Views": "Strahlungsfeld an seine Ansichten anpassen",
    "Fit This Mesh": "Dieses Netz lernen",
    "Fit without masks": "Ohne Masken anpassen",
    "Flip Axes": "Achsen umkehren",
    "From Favourites": "Aus den Favoriten",
    "Generate from It": "Daraus erzeugen",
    "Generate Mesh": "Netz erzeugen",
    "Image to Shape": "Bild zu Form",
    "Import Checkpoint": "Checkpoint einlesen",
    "Import the model again": "Modell neu einlesen",
    "Keep on an Object": "Auf einem Objekt behalten",
    "Keyframe Walk": "Wanderung als Keyframes",
    "Let the system choose a port": "Port vom System wählen lassen",
    "Make Training Set": "Trainingssatz erstellen",
    "Mesh Again": "Neu vernetzen",
    "Model Card": "Steckbrief des Modells",
    "More": "Mehr",
    "New Shape": "Neue Form",
    "Open Log": "Protokoll öffnen",
    "Pause": "Pause",
    "Random Seeds": "Würfeln",
    "Refresh Models": "Modelle neu lesen",
    "Refresh the list of models": "Liste der Modelle neu lesen",
    "Reinstall the Extension": "Erweiterung neu installieren",
    "Render Path": "Kamerafahrt rendern",
    "Render Preview": "Vorschau rendern",
    "Reset Crop": "Zuschnitt zurücksetzen",
    "Reset the Crop": "Zuschnitt zurücksetzen",
    "Reset View": "Blick zurücksetzen",
    "Restart": "Neu starten",
    "Restart Backend": "Rechenprozess neu starten",
    "Resume": "Fortsetzen",
    "Say which kind it is": "Art angeben",
    "Send the files again": "Dateien neu senden",
    "Send the latent": "Form senden",
    "Set Device to Automatic": "Gerät auf „Automatisch“ stellen",
    "Set Up": "Einrichten",
    "Show the folder": "Ordner zeigen",
    "Show the log": "Protokoll zeigen",
    "Show Variants": "Varianten zeigen",
    "Start": "Starten",
    "Start again": "Neu beginnen",
    "Start it": "Starten",
    "Start it again": "Neu starten",
    "Start the backend again": "Rechenprozess neu starten",
    "Stop": "Beenden",
    "Swap Seeds": "Startwerte tauschen",
    "Take Texture from Image": "Textur eines Bildes übernehmen",
    "Train": "Trainieren",
    "Try Again": "Noch einmal versuchen",
    "Update Latent Lathe": "Latent Lathe aktualisieren",
    "Update the add-on": "Erweiterung aktualisieren",
    "Update the backend": "Rechenprozess aktualisieren",
    "Update the Extension": "Erweiterung aktualisieren",
    "Use Any Free Port": "Beliebigen freien Port nehmen",
    "Use draft": "Entwurf nehmen",
    "Use for New Shapes": "Für neue Formen übernehmen",
    "Use Latent": "Form verwenden",
    "Use smaller images": "Kleinere Bilder nehmen",
    "Use the CPU Build": "CPU-Variante nehmen",
    "What to Do": "Abhilfe",
    "Photo to Latent": "Foto zur Form",
}
"""Labels of operators."""

LABELS = {
    ": step {step} of {steps}, {hours:.1f} hours": ": Schritt {step} von {steps}, {hours:.1f} Stunden",
    "A .npy or .exr file": "Eine .npy- oder .exr-Datei",
    "A control of the model": "Ein Regler des Modells",
    "A file or a folder": "Eine Datei oder ein Ordner",
    "A first look": "Für einen ersten Eindruck",
    "Action": "Aktion",
    "Active Object": "Aktives Objekt",
    "Adversarial loss": "Verlust des Gegenspielers",
    "All": "Alle",
    "Ambient": "Umgebungslicht",
    "An image file": "Eine Bilddatei",
    "Angle": "Winkel",
    "Animals": "Tiere",
    "Appearance": "Farben",
    "Apple GPU": "Apple-GPU",
    "Apple silicon": "Apple-Prozessoren",
    "Architecture": "Architektur",
    "Argument of the fix": "Wert für die Abhilfe",
    "As in the Tab": "Wie im Reiter",
    "As the data set suggests": "Wie der Datensatz es nahelegt",
    "As the Preset": "Wie die Voreinstellung",
    "At 3D Cursor": "Am 3D-Cursor",
    "Automatic": "Automatisch",
    "Azimuth": "Azimut",
    "Backend": "Rechenprozess",
    "Background": "Hintergrund",
    "Batch": "Stapel",
    "Black": "Schwarz",
    "Box Maximum": "Obere Ecke",
    "Box Minimum": "Untere Ecke",
    "Camera": "Kamera",
    "Camera Path": "Kamerafahrt",
    "Cancelling …": "Wird abgebrochen …",
    "Capture": "Aufnahme",
    "Chairs": "Stühle",
    "Chairs, stools and armchairs": "Stühle, Hocker und Sessel",
    "Check": "Prüfung",
    "Choose a model": "Ein Modell wählen",
    "Clear Near Cameras": "Vor Kameras räumen",
    "Close small holes": "Kleine Löcher schließen",
    "Code B": "Code B",
    "Collection": "Sammlung",
    "Color": "Farbe",
    "Colors": "Farben",
    "Colours with alpha": "Farben mit Alpha",
    "Composite In": "Mischen in",
    "Conditioning Pose": "Mitgeteilte Kamera",
    "Continue for": "Verlängern um",
    "Controls": "Regler des Modells",
    "Count": "Anzahl",
    "Crop": "Zuschnitt",
    "Data Folder": "Datenordner",
    "Data Set": "Datensatz",
    "Data Sets": "Datensätze",
    "Depth": "Tiefe",
    "Depth and Silhouette": "Tiefe und Umriss",
    "Depth Image": "Tiefenbild",
    "Depth Loss": "Tiefenverlust",
    "Detail": "Feinheit",
    "Device": "Gerät",
    "Did not start": "Nicht gestartet",
    "Directions": "Richtungen",
    "Distortion Loss": "Verzerrungsverlust",
    "Draft": "Entwurf",
    "Drop Small Pieces": "Kleine Teile weglassen",
    "Elevation": "Höhenwinkel",
    "Ended": "Beendet",
    "Export": "Ausgabe",
    "Exposure": "Belichtung",
    "Family": "Familie",
    "Fast, with fewer samples": "Schnell, mit weniger Stützstellen",
    "Favourite": "Favorit",
    "Favourites Only": "Nur Favoriten",
    "Field": "Feld",
    "Field of View": "Bildwinkel",
    "File": "Datei",
    "File to write": "Zu schreibende Datei",
    "Fill": "Ausfüllung",
    "Fill Holes": "Löcher schließen",
    "Fine": "Fein",
    "First": "Erstes",
    "Fit": "Strahlungsfeld",
    "Fit Them Too": "Mit anpassen",
    "Flip Camera Axes": "Kameraachsen umkehren",
    "Folder": "Ordner",
    "Folder for the files": "Ordner für die Dateien",
    "For Apple silicon": "Für Apple-Prozessoren",
    "Frames": "Einzelbilder",
    "Frames per Step": "Bilder je Schritt",
    "From": "Aus",
    "From a Mesh": "Aus einem Netz",
    "From an Image": "Aus einem Bild",
    "Full": "Voll",
    "Generated": "Erzeugt",
    "Geometry": "Gestalt",
    "Geometry alone": "Nur Geometrie",
    "glTF binary": "glTF, binär",
    "Good for most scenes": "Gut für die meisten Szenen",
    "Hash Grid": "Hash-Gitter",
    "Hemisphere": "Halbkugel",
    "Hide the last error": "Den letzten Fehler ausblenden",
    "Highest": "Höchste",
    "History": "Verlauf",
    "Hours": "Stunden",
    "Image": "Bild",
    "Images": "Bilder",
    "Iterations": "Schritte",
    "Job": "Auftrag",
    "Jobs": "Aufträge",
    "Label": "Beschriftung",
    "Latent": "Form",
    "Latent Walk": "Wanderung",
    "Layers": "Ebenen",
    "Layers from Seed B": "Ebenen von Startwert B",
    "Layers taken from seed B": "Ebenen von Startwert B",
    "Learn per Image": "Je Bild lernen",
    "Level": "Pegel",
    "Licence": "Lizenz",
    "Licence: {licence}": "Lizenz: {licence}",
    "Light": "Licht",
    "Live Level": "Pegel live",
    "Loss": "Verlust",
    "Losses: {losses}": "Verluste: {losses}",
    "Lowest": "Niedrigste",
    "Masks": "Masken",
    "Mesh": "Netz",
    "Method": "Verfahren",
    "Mix": "Mischung",
    "Mix Appearance": "Mischung der Farben",
    "Mix Geometry": "Mischung der Gestalt",
    "Mix {name}": "Mischung {name}",
    "Model": "Modell",
    "Model of new shapes": "Modell neuer Formen",
    "Model of the latent": "Modell der Form",
    "Model of this shape": "Modell dieser Form",
    "Model to Train": "Zu trainierendes Modell",
    "More": "Mehr",
    "Name of the model": "Name des Modells",
    "Name of the model to train": "Name des zu trainierenden Modells",
    "Name of the model's preset": "Name der Voreinstellung des Modells",
    "Network": "Netzwerk",
    "New Shape": "Neue Form",
    "No fit is running": "Keine Anpassung läuft",
    "No job is running": "Kein Auftrag läuft",
    "No training is running": "Es läuft kein Training",
    "None": "Keine",
    "Normal": "Normale",
    "Normals": "Normalen",
    "Not for commercial use": "Nicht für gewerbliche Nutzung",
    "Not set up": "Nicht eingerichtet",
    "Not trained on this view": "Von hier hat das Modell nicht gelernt",
    "Nothing": "Nichts",
    "Next Step": "Nächster Schritt",
    "Nothing is running": "Nichts läuft",
    "Number": "Zahl",
    "Object Alone": "Nur das Objekt",
    "Objects": "Objekte",
    "Official": "Wie veröffentlicht",
    "On": "Ein",
    "Opacity Loss": "Deckkraftverlust",
    "Options": "Optionen",
    "Orbit": "Kreis",
    "Overwrite": "Überschreiben",
    "Own Level": "Eigener Pegel",
    "Own Python": "Eigenes Python",
    "Package Index": "Paketindex",
    "Photos": "Fotos",
    "Pitch": "Neigung",
    "Place": "Platzieren",
    "Placement of the cameras": "Aufstellung der Kameras",
    "Preset": "Voreinstellung",
    "Press Capture first": "Zuerst „Aufnehmen“ drücken",
    "Press Find Cameras first": "Zuerst „Kameras finden“ drücken",
    "Preview": "Vorschau",
    "Processor": "Prozessor",
    "Published": "Veröffentlicht",
    "Quality": "Güte",
    "Quality of each image": "Güte jedes Bildes",
    "Random": "Zufällig",
    "Random seed of the fit": "Startwert der Anpassung",
    "Random Sun": "Zufällige Sonne",
    "Ranges": "Bereiche",
    "Ready": "Bereit",
    "Ready on {device}": "Bereit auf {device}",
    "Refine Cameras": "Kameras verfeinern",
    "Replace Last": "Letztes ersetzen",
    "Resolution": "Auflösung",
    "Rest at Seeds": "Bei Startwerten ruhen",
    "Return to the First": "Zurück zum ersten",
    "Rig": "Kamerastand",
    "Roll": "Rollen",
    "Row": "Zeile",
    "Row of the latent": "Zeile der Form",
    "Rows": "Zeilen",
    "Scene": "Szene",
    "Seconds": "Sekunden",
    "Seed": "Startwert",
    "Seed A": "Startwert A",
    "Seed B": "Startwert B",
    "Seeds": "Startwerte",
    "Select a field": "Ein Feld auswählen",
    "Select a mesh object": "Ein Netzobjekt auswählen",
    "Selected": "Ausgewähltes",
    "Set Up": "Einrichten",
    "Show": "Zeigen",
    "Show favourites only": "Nur Favoriten zeigen",
    "Size": "Größe",
    "Size of the network": "Größe des Netzwerks",
    "Sliders": "Regler",
    "Sliders Of": "Regler von",
    "Small": "Klein",
    "Smooth Normals": "Glatte Normalen",
    "Smoothing": "Glätten",
    "Source of the images": "Herkunft der Bilder",
    "Sphere": "Kugel",
    "Starting …": "Startet …",
    "Step {step:.0f} of {steps:.0f}": "Schritt {step:.0f} von {steps:.0f}",
    "Stands": "Steht",
    "Steps": "Schritte",
    "Stopped": "Gestoppt",
    "Stopping …": "Endet …",
    "Strength": "Stärke",
    "Style Mixing": "Stilmischung",
    "Sun Azimuth": "Azimut der Sonne",
    "Sun Elevation": "Höhe der Sonne",
    "Sun Strength": "Stärke der Sonne",
    "Surroundings": "Umgebung",
    "Target": "Ziel",
    "Target Faces": "Zahl der Flächen",
    "Test Images": "Testbilder",
    "Texture": "Textur",
    "Texture Size": "Texturgröße",
    "The backend is starting": "Der Rechenprozess startet",
    "The check is running": "Die Prüfung läuft",
    "The images need cameras": "Die Bilder brauchen Kameras",
    "The largest 3D viewport": "Das größte 3D-Ansichtsfenster",
    "The loss of the preset": "Der Verlust der Voreinstellung",
    "The model's own controls": "Die Regler des Modells",
    "The Python executable": "Die Programmdatei von Python",
    "The selected objects": "Die ausgewählten Objekte",
    "There is no error": "Es gibt keinen Fehler",
    "There is nothing to hide": "Es gibt nichts auszublenden",
    "Through": "Durch",
    "Toy animals with four legs": "Spielzeugtiere mit vier Beinen",
    "Train": "Training",
    "Training": "Training",
    "Training Set": "Trainingssatz",
    "Training steps": "Trainingsschritte",
    "Transparent": "Durchsichtig",
    "Truncation": "Beschneidung",
    "Turn": "Drehung",
    "Unit": "Einheit",
    "Use Masks": "Masken verwenden",
    "Value": "Wert",
    "Variants": "Varianten",
    "Vary": "Verändern",
    "Vertex Colors": "Punktfarben",
    "View to render": "Blick, der gerendert wird",
    "Viewport": "Ansichtsfenster",
    "Views": "Ansichten",
    "Wavefront, Y up": "Wavefront, Y nach oben",
    "Wheels Folder": "Ordner mit Wheels",
    "Where the mesh is placed": "Wohin das Netz gesetzt wird",
    "Which fix": "Welche Abhilfe",
    "White": "Weiß",
    "Whole Scene": "Ganze Szene",
    "Works everywhere": "Läuft überall",
    "World normals as colours": "Normalen der Welt als Farben",
    "Wrote {file}": "{file} geschrieben",
    "Yaw": "Drehung",
    "{hours}:{minutes:02d} hours left": "Noch {hours}:{minutes:02d} Stunden",
    "{name} Seed": "Startwert {name}",
    "Photo to Latent": "Foto zur Form",
    "Mask": "Maske",
    "Tuning Steps": "Anpassungsschritte",
    "Tuning Rate": "Anpassungsrate",
    "Locality": "Örtlichkeit",
    "Solve Camera": "Kamera bestimmen",
    "Candidates": "Kandidaten",
}
"""Labels of panels and properties, and choices."""

SENTENCES = {
    "8 layers of 512 units, as in the paper": "8 Schichten zu 512 Einheiten, wie in der Veröffentlichung",
    ": {steps} steps, {seconds:.0f} s": ": {steps} Schritte, {seconds:.0f} s",
    "A capture is running: wait for it or press Esc": "Eine Aufnahme läuft: abwarten oder Esc drücken",
    "A checkpoint is being imported: wait for it or cancel it at the top": (
        "Ein Checkpoint wird eingelesen: abwarten oder oben abbrechen"
    ),
    "A color attribute, one color per vertex": "Ein Farbattribut mit einer Farbe je Punkt",
    "A control of the model that is a whole number": "Ein Regler des Modells, der eine ganze Zahl ist",
    "A control of the model that is an angle": "Ein Regler des Modells, der ein Winkel ist",
    "A control of the model that is on or off": "Ein Regler des Modells, der ein oder aus ist",
    "A fit is running: pause it first": "Eine Anpassung läuft: zuerst anhalten",
    "A fit is running: wait for it or cancel it at the top": "Eine Anpassung läuft: abwarten oder oben abbrechen",
    (
        "A folder of images with cameras: transforms.json of NeRF-synthetic, nerfstudio or instant-ngp, or a COLMAP "
        "model"
    ): (
        "Ein Ordner mit Bildern und Kameras: transforms.json von NeRF-synthetic, nerfstudio oder instant-ngp, oder "
        "ein COLMAP-Modell"
    ),
    "A folder of images with cameras: transforms.json or COLMAP": (
        "Ein Ordner mit Bildern und Kameras: transforms.json oder COLMAP"
    ),
    "A folder of photographs, any photograph in it, or a video": (
        "Ein Ordner mit Fotos, eines der Fotos darin oder ein Video"
    ),
    "A new colour in each step, so that empty space stays empty": (
        "In jedem Schritt eine neue Farbe, damit leerer Raum leer bleibt"
    ),
    "The backend has no models yet": "Der Rechenprozess hat noch keine Modelle",
    "Installs PyTorch into this extension's own folder and leaves Blender's Python alone": (
        "Installiert PyTorch in den eigenen Ordner dieser Erweiterung; Blenders Python bleibt, wie es ist"
    ),
    "Set Up downloads PyTorch, and Blender may not use the internet yet": (
        "„Einrichten“ lädt PyTorch herunter, und Blender darf das Internet noch nicht benutzen"
    ),
    "Blender was started without access to the internet: choose a Python that has the backend's packages, or a folder "
    "of wheels in the panel Set Up": (
        "Blender wurde ohne Zugang zum Internet gestartet: ein Python mit den Paketen des Rechenprozesses wählen, oder "
        "im Bereich „Einrichten“ einen Ordner mit Wheels"
    ),
    "Leave the active object as it is and show the settings of new shapes": (
        "Das aktive Objekt lassen, wie es ist, und die Einstellungen neuer Formen zeigen"
    ),
    "A new mesh of this object keeps the height of its lowest point": (
        "Ein neues Netz dieses Objekts behält die Höhe seines tiefsten Punkts"
    ),
    "A new object on the ground at the 3D cursor, beside what stands there": (
        "Ein neues Objekt auf dem Boden am 3D-Cursor, neben dem, was dort steht"
    ),
    "A path is being rendered: wait for it or cancel it at the top": (
        "Eine Kamerafahrt wird gerendert: abwarten oder oben abbrechen"
    ),
    "A procedural family, rendered by the backend": "Eine prozedurale Familie, vom Rechenprozess gerendert",
    "A Python that already has the backend's packages. Empty uses the one that Set Up installs": (
        "Ein Python, das die Pakete des Rechenprozesses schon hat. Leer: das von „Einrichten“ installierte"
    ),
    "A radiance field has no latents": "Ein Strahlungsfeld hat keine Startwerte",
    "A training is running: pause it first": "Ein Training läuft: zuerst anhalten",
    (
        "Add a camera with the view of the sliders and make it the active one. At their defaults the sliders show the "
        "model's training view"
    ): (
        "Eine Kamera mit dem Blick der Regler hinzufügen und aktiv machen. In Grundstellung zeigen die Regler den "
        "Blick aus dem Training"
    ),
    "A sun from a random direction, and uniform light from all sides": (
        "Eine Sonne aus zufälliger Richtung und gleichmäßiges Licht von allen Seiten"
    ),
    "A training set is being rendered: wait for it or press Esc": (
        "Ein Trainingssatz wird gerendert: abwarten oder Esc drücken"
    ),
    "Add an empty with this latent and the view of the sliders, which can be keyframed, driven and copied": (
        "Ein Leerobjekt mit dieser Form und dem Blick der Regler hinzufügen, für Keyframes, Treiber und Kopien"
    ),
    "Add the chosen radiance field to the scene, at the place where its images were taken": (
        "Das gewählte Strahlungsfeld dort in die Szene setzen, wo seine Bilder aufgenommen wurden"
    ),
    "All images show the same colours": "Alle Bilder zeigen dieselben Farben",
    "All objects that are rendered": "Alle Objekte, die gerendert werden",
    "Along the scene's active camera over the frame range": (
        "Entlang der aktiven Kamera der Szene, über den Bildbereich"
    ),
    "Also write a mask of the target for each image": "Zu jedem Bild auch eine Maske des Ziels schreiben",
    "Also write the depth of each image": "Zu jedem Bild auch die Tiefe schreiben",
    "Also write the normals of each image": "Zu jedem Bild auch die Normalen schreiben",
    "An image is being processed: wait for it or cancel it at the top": (
        "Ein Bild wird verarbeitet: abwarten oder oben abbrechen"
    ),
    "An NVIDIA or AMD graphics card": "Eine Grafikkarte von NVIDIA oder AMD",
    "Angle of view of the shorter side of the image. Models are most accurate at their training value": (
        "Bildwinkel der kürzeren Bildseite. Modelle sind bei dem Wert aus ihrem Training am genauesten"
    ),
    "Appearance learned per image, so that camera settings do not end up in the field": (
        "Je Bild gelerntes Aussehen, damit Kameraeinstellungen nicht ins Feld gelangen"
    ),
    "Apply the fix that the error suggests": "Die vorgeschlagene Abhilfe anwenden",
    "Architecture of the checkpoint, if it cannot be detected from the file": (
        "Architektur des Checkpoints, falls die Datei sie nicht erkennen lässt"
    ),
    "Around and above the target": "Rings um das Ziel und darüber",
    "Around, above and below the target": "Rings um das Ziel, darüber und darunter",
    "As in most radiance fields": "Wie bei den meisten Strahlungsfeldern",
    "Azimuth of the camera, from the model's front. Keyframe it for a turntable": (
        "Azimut der Kamera, von der Vorderseite des Modells aus. Mit Keyframes ein Drehteller"
    ),
    "Azimuth of the conditioning camera, from the model's front": (
        "Azimut der vorgegebenen Kamera, von der Vorderseite des Modells aus"
    ),
    (
        "Blender may not use the internet: turn on Preferences > System > Allow Online Access, or choose a folder of "
        "wheels in the add-on's preferences"
    ): (
        "Blender darf das Internet nicht nutzen: Einstellungen > System > Onlinezugriff erlauben, oder in den "
        "Einstellungen der Erweiterung einen Ordner mit Wheels wählen"
    ),
    "Build of PyTorch that Set Up downloads": "PyTorch-Variante, die „Einrichten“ herunterlädt",
    "Cameras are being estimated: wait for it or cancel it at the top": (
        "Kameras werden bestimmt: abwarten oder oben abbrechen"
    ),
    "Cancel every running job except Set Up, fits and trainings, which have their own buttons": (
        "Alle laufenden Aufträge abbrechen, außer „Einrichten“, Anpassungen und Trainings, die eigene Knöpfe haben"
    ),
    "Cancel this job (Esc cancels all but Set Up, fits and trainings)": (
        "Diesen Auftrag abbrechen (Esc bricht alle ab, außer „Einrichten“, Anpassungen und Trainings)"
    ),
    "Check Python, PyTorch, device, disk space, permissions and versions, and suggest a fix for each fault": (
        "Python, PyTorch, Gerät, Speicherplatz, Rechte und Versionen prüfen und zu jedem Fehler eine Abhilfe nennen"
    ),
    "Choose a file, or open a folder": "Eine Datei wählen oder einen Ordner öffnen",
    "Choose a folder for the frames": "Einen Ordner für die Einzelbilder wählen",
    "Choose a folder of photographs, or a video": "Einen Ordner mit Fotos oder ein Video wählen",
    "Choose a radiance field as the model of new shapes first": (
        "Zuerst ein Strahlungsfeld als Modell neuer Formen wählen"
    ),
    "Choose the collection of the objects": "Die Sammlung der Objekte wählen",
    "Choose the folder for frames or data sets": "Den Ordner für Einzelbilder oder Datensätze wählen",
    "Choose the folder of the data set": "Den Ordner des Datensatzes wählen",
    "Choose the folder of the images": "Den Ordner der Bilder wählen",
    "Choose the folder of the training set": "Den Ordner des Trainingssatzes wählen",
    "Choose the trained model for new shapes and render its preview": (
        "Das trainierte Modell für neue Formen wählen und seine Vorschau rendern"
    ),
    "Chosen by the graphics card found on this computer": "Nach der Grafikkarte in diesem Rechner gewählt",
    "Class of the objects, each different from all others": (
        "Klasse der Objekte, von denen jedes anders ist als alle übrigen"
    ),
    "Colour behind images with alpha. White and black also say that images without alpha have that background": (
        "Farbe hinter Bildern mit Alpha. Weiß und Schwarz gelten auch als Hintergrund von Bildern ohne Alpha"
    ),
    "Colour space in which samples are composited along a ray": (
        "Farbraum, in dem die Werte entlang eines Strahls gemischt werden"
    ),
    (
        "Condition the model on a camera pose other than its front view. This changes the shape slightly, not the "
        "view, because some models learned that pose and appearance are correlated"
    ): (
        "Dem Modell eine andere Kamera als die von vorn vorgeben. Das ändert die Form ein wenig, nicht den Blick, "
        "denn manche Modelle haben gelernt, dass Blickrichtung und Aussehen zusammenhängen"
    ),
    "Content of the preview image": "Inhalt des Vorschaubilds",
    "Continue after the last seed of the sheet": "Nach dem letzten Startwert des Bogens fortfahren",
    "Continue this fit where it was paused or interrupted, or extend it if it has finished": (
        "Diese Anpassung dort fortsetzen, wo sie angehalten oder unterbrochen wurde; eine fertige verlängern"
    ),
    "Contrast and tint too: for images from several cameras or developed differently": (
        "Auch Kontrast und Farbton: für Bilder mehrerer Kameras oder unterschiedlich entwickelte"
    ),
    "Copy model, latent and mesh settings of the active generated object to the settings of new shapes": (
        "Modell, Form und Netzeinstellungen des aktiven erzeugten Objekts für neue Formen übernehmen"
    ),
    "Delete the state and the images of this training, so that it cannot be resumed. Its model stays": (
        "Stand und Bilder dieses Trainings löschen, so dass es nicht fortgesetzt werden kann. Sein Modell bleibt"
    ),
    "Delete the state of this fit, so that it cannot be continued. The field itself stays": (
        "Den Stand dieser Anpassung löschen, sodass sie nicht fortgesetzt werden kann. Das Feld selbst bleibt"
    ),
    (
        "Density at the surface, on a logarithmic scale from the lowest to the highest of the field. Lower values give "
        "a larger mesh"
    ): (
        "Dichte an der Oberfläche, logarithmisch von der kleinsten bis zur größten des Feldes. Kleinere Werte "
        "geben ein größeres Netz"
    ),
    "Density closer than this to a training camera is removed, in metres; 0 removes none": (
        "Dichte, die einer Trainingskamera näher ist, wird entfernt; in Metern, 0 entfernt nichts"
    ),
    "Device the backend computes on": "Gerät, auf dem der Rechenprozess rechnet",
    "Directions that are added to the latent": "Richtungen, die zur Form addiert werden",
    "Distance along the view; near is bright": "Abstand entlang des Blicks; nah ist hell",
    (
        "Download PyTorch and the other packages of the backend into a folder of this extension. An interrupted "
        "installation is resumed"
    ): (
        "PyTorch und die übrigen Pakete des Rechenprozesses in einen Ordner dieser Erweiterung laden. Eine "
        "unterbrochene Installation wird fortgesetzt"
    ),
    "Draw both seeds at random": "Beide Startwerte zufällig wählen",
    "Duration of the fit in seconds, over all sessions; 0 uses the duration of the quality": (
        "Dauer der Anpassung in Sekunden, über alle Sitzungen; 0 nimmt die Dauer der Güte"
    ),
    "Duration of the training in hours, over all sessions; 0 trains until the steps are done": (
        "Dauer des Trainings in Stunden, über alle Sitzungen; 0 trainiert, bis die Schritte getan sind"
    ),
    "Ease in and out at each seed. If off, the speed is constant": (
        "Bei jedem Startwert sanft anhalten. Aus: gleichbleibende Geschwindigkeit"
    ),
    "Elevation angle of the orbit, seen from the centre of the target": (
        "Höhenwinkel des Kreises, von der Mitte des Ziels aus"
    ),
    "Elevation of the camera, from the model's usual view": (
        "Höhenwinkel der Kamera, vom üblichen Blick des Modells aus"
    ),
    "Elevation of the conditioning camera, from the model's usual view": (
        "Höhenwinkel der vorgegebenen Kamera, vom üblichen Blick des Modells aus"
    ),
    "End the training and delete its state, so that it cannot be resumed. The model stays as it is now": (
        "Das Training beenden und seinen Stand löschen, so dass es nicht fortgesetzt werden kann. Das Modell "
        "bleibt, wie es jetzt ist"
    ),
    "End with the first seed, for a loop": "Mit dem ersten Startwert enden, für eine Schleife",
    "Estimate the cameras of photographs or of the frames of a video, and show them in the scene": (
        "Die Kameras von Fotos oder der Einzelbilder eines Videos bestimmen und in der Szene zeigen"
    ),
    "Exchange A and B: their seeds and their stored codes": "A und B tauschen: Startwerte und gespeicherte Formen",
    "Exposure and white balance: for cameras with automatic exposure": (
        "Belichtung und Weißabgleich: für Kameras mit Belichtungsautomatik"
    ),
    (
        "Extract the mesh again whenever the level changes: geometry alone while it moves, then with colours. The "
        "field is not evaluated again"
    ): (
        "Das Netz bei jeder Änderung des Pegels neu ableiten: währenddessen nur die Geometrie, danach mit Farben. "
        "Das Feld wird nicht neu ausgewertet"
    ),
    "Extract the surface at a level other than the model's own": (
        "Die Oberfläche bei einem anderen Pegel als dem des Modells ableiten"
    ),
    "Factor of the direction that is added to the latent; 0 leaves the shape as it is": (
        "Faktor, mit dem die Richtung zur Form addiert wird; 0 lässt die Form, wie sie ist"
    ),
    "File format of the export": "Dateiformat der Ausgabe",
    (
        "Find the shape that an image shows, and mesh it at the 3D cursor. The image may have any size; its alpha, if "
        "it has one, masks the object"
    ): (
        "Die Form in einem Bild ermitteln und am 3D-Cursor vernetzen. Das Bild darf jede Größe haben; sein Alpha, "
        "falls vorhanden, maskiert das Objekt"
    ),
    (
        "Find the shape that fits a depth image seen from the active camera, and mesh it where a new shape would be "
        "placed. Depth is in metres along the view: a .npy file [height, width], or an uncompressed OpenEXR depth pass"
    ): (
        "Die Form ermitteln, die zu einem Tiefenbild der aktiven Kamera passt, und dort vernetzen, wo neue Formen "
        "entstehen. Tiefe in Metern entlang des Blicks: eine .npy-Datei [Höhe, Breite] oder ein unkomprimierter "
        "OpenEXR-Tiefenpass"
    ),
    (
        "Find the shape that fits the active object's vertices, and mesh it in the same place. In Edit Mode only the "
        "selected vertices are used. The object's local coordinates are the model's: Z up, at the model's size"
    ): (
        "Die Form ermitteln, die zu den Punkten des aktiven Objekts passt, und an derselben Stelle vernetzen. Im "
        "Bearbeitungsmodus zählen nur ausgewählte Punkte. Die lokalen Koordinaten des Objekts sind die des "
        "Modells: Z nach oben, in der Größe des Modells"
    ),
    "Fit a radiance field to the images. It appears in the scene as a box that can be moved and meshed": (
        "Ein Strahlungsfeld an die Bilder anpassen. In der Szene ist es ein Kasten, der bewegt und vernetzt werden kann"
    ),
    "Fit starts from scratch; Continue resumes the stored fit": (
        "„Anpassen“ beginnt von vorn; „Fortsetzen“ nimmt die gespeicherte Anpassung auf"
    ),
    (
        "Folder for captures and photographs with estimated cameras, each in a folder of its own. // is the folder of "
        "the .blend file"
    ): (
        "Ordner für Aufnahmen und Fotos mit bestimmten Kameras, jeweils in einem eigenen Ordner. // ist der Ordner "
        "der .blend-Datei"
    ),
    "Folder for models, jobs and uploads of the backend. Empty uses the system's default": (
        "Ordner für Modelle, Aufträge und Hochgeladenes des Rechenprozesses. Leer: der übliche Ordner des Systems"
    ),
    "Folder for the frames 0001.png, 0002.png and so on. // is the folder of the .blend file": (
        "Ordner für die Einzelbilder 0001.png, 0002.png usw. // ist der Ordner der .blend-Datei"
    ),
    (
        "Folder of the images of one class of objects, with cameras (transforms.json or dataset.json) or "
        "without. // is the folder of the .blend file"
    ): (
        "Ordner mit Bildern einer Klasse von Objekten, mit Kameras (transforms.json oder dataset.json) oder "
        "ohne. // ist der Ordner der .blend-Datei"
    ),
    "Folder of the training set; one that was begun is continued. // is the folder of the .blend file": (
        "Ordner des Trainingssatzes; ein angefangener wird fortgesetzt. // ist der Ordner der .blend-Datei"
    ),
    "For AMD graphics cards, Linux only": "Für Grafikkarten von AMD, nur unter Linux",
    "For NVIDIA graphics cards": "Für Grafikkarten von NVIDIA",
    "Found from a scan or an image": "Aus einem Scan oder Bild ermittelt",
    "Fraction of the image that the target fills": "Anteil des Bildes, den das Ziel ausfüllt",
    "Frames from one seed to the next": "Einzelbilder von einem Startwert zum nächsten",
    "Generate a mesh of the shape and add it to the scene": "Ein Netz der Form erzeugen und in die Szene setzen",
    "Generate shapes with this model": "Formen mit diesem Modell erzeugen",
    "glTF binary, Y up, with materials and texture": "glTF, binär, Y nach oben, mit Materialien und Textur",
    "GPU {used:.1f} of {total:.0f} GB": "GPU {used:.1f} von {total:.0f} GB",
    "Grid cells along the longest side of the bounds. Doubling it gives four times the faces": (
        "Gitterzellen entlang der längsten Seite. Die doppelte Zahl gibt viermal so viele Flächen"
    ),
    "Hide the results of the check": "Das Ergebnis der Prüfung ausblenden",
    "Highest elevation of the viewpoints in degrees": "Höchster Höhenwinkel der Blickpunkte in Grad",
    "How the mesh stores the colours of the model": "Wie das Netz die Farben des Modells speichert",
    "Ignore the pixels that the masks of the data set exclude": (
        "Pixel auslassen, die von den Masken des Datensatzes ausgeschlossen werden"
    ),
    "Images are scaled down to this many pixels along the longer side for feature matching. More is slower": (
        "Für den Merkmalsabgleich werden die Bilder auf so viele Pixel der längeren Seite verkleinert. Mehr ist "
        "langsamer"
    ),
    "Images of a training step; 0 uses the preset's. Fewer need less memory": (
        "Bilder eines Trainingsschritts; 0 nimmt die der Voreinstellung. Weniger brauchen weniger Speicher"
    ),
    "Images of each object": "Bilder je Objekt",
    "Import an official checkpoint, a file or a folder, as a model. No code in it is executed": (
        "Einen veröffentlichten Checkpoint, Datei oder Ordner, als Modell einlesen. Darin enthaltener Code wird "
        "nicht ausgeführt"
    ),
    "Install from the wheel files in this folder and do not use the internet": (
        "Aus den Wheel-Dateien in diesem Ordner installieren, ohne Internet"
    ),
    "Interpolation of the colours from the first latent (0) to the second (1), for models that separate them": (
        "Übergang der Farben von der ersten Form (0) zur zweiten (1), bei Modellen, die sie trennen"
    ),
    "Interpolation of the geometry from the first latent (0) to the second (1)": (
        "Übergang der Gestalt von der ersten Form (0) zur zweiten (1)"
    ),
    "Iterations of volume-preserving smoothing, which removes noise from the surface of a density": (
        "Durchgänge einer Glättung, die das Volumen erhält und die Oberfläche einer Dichte entrauscht"
    ),
    (
        "Keyframe the seeds and the mix from the current frame on, so that the shape changes from one seed to the "
        "next. The keyframes of an earlier walk are replaced; style mixing is turned off"
    ): (
        "Startwerte und Mischung ab dem aktuellen Bild mit Keyframes versehen, sodass die Form von einem Startwert "
        "zum nächsten übergeht. Keyframes einer früheren Wanderung werden ersetzt, die Stilmischung wird "
        "abgeschaltet"
    ),
    "Larger, and fitted longer": "Größer und länger angepasst",
    "Largest azimuth of the viewpoints to either side, in degrees": (
        "Größter Azimut der Blickpunkte nach beiden Seiten in Grad"
    ),
    "Latent, model and mesh settings that the tab shows and uses": (
        "Form, Modell und Netzeinstellungen, die der Reiter zeigt und verwendet"
    ),
    "Latents rendered so far, newest first": "Bisher gerenderte Formen, neueste zuerst",
    "Layers of the model that the direction is added to; none means all": (
        "Ebenen des Modells, zu denen die Richtung addiert wird; keine bedeutet alle"
    ),
    "Leave Edit Mode (Tab) first": "Zuerst den Bearbeitungsmodus verlassen (Tab)",
    "Light of the images": "Beleuchtung der Bilder",
    "Linear light, as in a physical renderer": "Lineares Licht, wie bei physikalischen Renderern",
    "Lower corner of the crop box, in the field's own coordinates": (
        "Untere Ecke des Zuschnitts, in Koordinaten des Feldes"
    ),
    "Lower corner of the field's own box": "Untere Ecke des Kastens des Feldes",
    "Lowest elevation of the viewpoints in degrees": "Niedrigster Höhenwinkel der Blickpunkte in Grad",
    "Mark two latents of this model as favourites in the history first": (
        "Zuerst im Verlauf zwei Formen dieses Modells als Favoriten setzen"
    ),
    "Maximum number of images; of a video, or of more photos, this many are taken at equal intervals": (
        "Höchstzahl der Bilder; aus einem Video oder mehr Fotos werden so viele in gleichen Abständen genommen"
    ),
    "Model to train; empty is the first of the backend's list": (
        "Zu trainierendes Modell; leer ist das erste der Liste des Rechenprozesses"
    ),
    "Multiresolution hash encoding with small networks: fast": (
        "Hash-Kodierung in mehreren Auflösungen mit kleinen Netzwerken: schnell"
    ),
    "Name of the field: letters, digits, '.', '-' and '_'. Empty uses the name of the file or folder": (
        "Name des Feldes: Buchstaben, Ziffern, „.“, „-“ und „_“. Leer: Name der Datei oder des Ordners"
    ),
    "Name of the fit; empty uses the first": "Name der Anpassung; leer: die erste",
    (
        "Name of the model: letters, digits, '.', '-' and '_'. Empty uses the file's name; an existing imported model "
        "of the given name is replaced"
    ): (
        "Name des Modells: Buchstaben, Ziffern, „.“, „-“ und „_“. Leer: Name der Datei; ein schon eingelesenes "
        "Modell des angegebenen Namens wird ersetzt"
    ),
    "Name of the new model: letters, digits, '.', '-' and '_'. Empty uses the object's name": (
        "Name des neuen Modells: Buchstaben, Ziffern, „.“, „-“ und „_“. Leer: Name des Objekts"
    ),
    (
        "Name of the trained model: letters, digits, '.', '-' and '_'. Empty uses the names of the folder and the model"
    ): (
        "Name des trainierten Modells: Buchstaben, Ziffern, „.“, „-“ und „_“. Leer nimmt die Namen des "
        "Ordners und des Modells"
    ),
    "Name of the training; empty uses the first": "Name des Trainings; leer nimmt das erste",
    "Name of the training; empty uses the last": "Name des Trainings; leer nimmt das letzte",
    "Negate the y and z axes of all cameras, for data sets whose axes differ from those of their format": (
        "Die y- und z-Achsen aller Kameras umkehren, für Datensätze, deren Achsen von ihrem Format abweichen"
    ),
    "Never drop it from the history": "Nie aus dem Verlauf entfernen",
    "No layer is taken from seed B": "Keine Ebene kommt von Startwert B",
    "No models are known yet: start the backend": "Noch kein Modell bekannt: Rechenprozess starten",
    "No models are known: start the backend": "Kein Modell bekannt: Rechenprozess starten",
    "Nothing outside the scene bounds": "Nichts außerhalb der Grenzen der Szene",
    "Number of additional images that are not used for training, to measure the quality of the fit": (
        "Zahl zusätzlicher Bilder, die nicht zum Training dienen und an denen die Güte gemessen wird"
    ),
    "Number of different objects": "Anzahl der verschiedenen Objekte",
    "Number of images of all objects together. A generator needs some thousands; 64 are the least": (
        "Anzahl der Bilder aller Objekte zusammen. Ein Generator braucht einige tausend, mindestens 64"
    ),
    "Number of images on the sheet": "Zahl der Bilder auf dem Bogen",
    "Number of images to render for the data set": "Zahl der Bilder, die für den Datensatz gerendert werden",
    "Number of images; 0 uses the tab's setting": "Zahl der Bilder; 0: Einstellung des Reiters",
    "Number of the job; 0 is the newest": "Nummer des Auftrags; 0 ist der neueste",
    "Number of training images. 100 suit an object, 30 a quick test": (
        "Zahl der Trainingsbilder. 100 für ein Objekt, 30 für einen schnellen Test"
    ),
    "Number of training steps, over all sessions, along which the learning rate falls; 0 uses the preset's": (
        "Anzahl der Trainingsschritte, über alle Sitzungen, über die die Lernrate fällt; 0 nimmt die der Voreinstellung"
    ),
    "Number of training steps, over all sessions; 0 stops by time": (
        "Zahl der Trainingsschritte, über alle Sitzungen; 0 endet nach der Zeit"
    ),
    "Objects that the cameras are aimed at. The images contain everything that is rendered": (
        "Objekte, auf die die Kameras gerichtet sind. Die Bilder enthalten alles, was gerendert wird"
    ),
    "Of the camera; its distance is such that the object's sphere fills the image": (
        "Sichtfeld der Kamera; ihr Abstand ist so, dass die Kugel um das Objekt das Bild füllt"
    ),
    "On a circle around the target": "Auf einem Kreis um das Ziel",
    "One image for each seed A": "Ein Bild für jeden Startwert A",
    "One image for each seed B": "Ein Bild für jeden Startwert B",
    "Optimisation steps. More are slower and closer to the scan": (
        "Optimierungsschritte. Mehr sind langsamer und kommen dem Scan näher"
    ),
    "Optimise the camera poses together with the field": "Die Kameras zusammen mit dem Feld optimieren",
    "Package index to download PyTorch from instead of the default one; PYPI stands for pip's own": (
        "Paketindex, von dem PyTorch statt vom üblichen geladen wird; PYPI steht für den von pip"
    ),
    "Pause the fit. Its state is stored, also beyond this session, so that it can be continued": (
        "Die Anpassung anhalten. Ihr Stand bleibt gespeichert, auch über diese Sitzung hinaus, und sie kann "
        "fortgesetzt werden"
    ),
    "Pause the training. Its state is stored, also beyond this session, so that it can be resumed": (
        "Das Training anhalten. Sein Stand bleibt gespeichert, auch über diese Sitzung hinaus, und es kann "
        "fortgesetzt werden"
    ),
    "Photographs or a video, whose cameras are estimated first": (
        "Fotos oder ein Video, deren Kameras zuerst bestimmt werden"
    ),
    "Pixels along each side": "Pixel je Seite",
    "Pixels along each side of the baked image": "Pixel je Seite der gebackenen Textur",
    "Pixels along each side of the images": "Pixel je Seite der Bilder",
    "Pixels along the longer side of each image. The aspect is that of the scene's render settings": (
        "Pixel der längeren Bildseite. Das Seitenverhältnis ist das der Rendereinstellungen der Szene"
    ),
    "Pixels along the longer side of the preview": "Pixel der längeren Seite der Vorschau",
    "Port of the backend on this computer; 0 lets the system choose a free one": (
        "Port des Rechenprozesses auf diesem Rechner; bei 0 wählt das System einen freien"
    ),
    "Quick to train and to mesh": "Schnell zu trainieren und zu vernetzen",
    "Random seed of a second latent, for mixing": "Startwert einer zweiten Form zum Mischen",
    "Random seed of the initial latent": "Startwert der anfänglichen Form",
    "Random seed of the latent. With both mixes at 0, each number is another shape of the model": (
        "Startwert der Form. Sind beide Mischungen 0, ist jede Zahl eine andere Form des Modells"
    ),
    "Random seed of the training": "Startwert des Trainings",
    "Range of the sun's directions around the object; 0 is its front": (
        "Bereich der Richtungen der Sonne um das Objekt; 0 ist vorn"
    ),
    "Range of the sun's height": "Bereich der Höhe der Sonne",
    "Range of the sun's strength": "Bereich der Stärke der Sonne",
    "Range of the viewpoints above the horizon": "Bereich der Blickpunkte über dem Horizont",
    "Range of the viewpoints around the object; 0 sees its front": (
        "Bereich der Blickpunkte um das Objekt; 0 sieht es von vorn"
    ),
    "Read the list of models from the backend again": "Die Liste der Modelle neu vom Rechenprozess lesen",
    "Relativistic loss with gradient penalties on real and generated images": (
        "Relativistischer Verlust mit Gradientenstrafen auf echten und erzeugten Bildern"
    ),
    "Remove all latents except the favourites": "Alle Formen außer den Favoriten entfernen",
    "Remove everything outside the crop box from images and meshes": (
        "Alles außerhalb des Zuschnitts aus Bildern und Netzen entfernen"
    ),
    "Remove loose pieces whose area is below this fraction of the largest piece; 0 keeps all": (
        "Lose Teile entfernen, deren Fläche unter diesem Anteil des größten Teils liegt; 0 behält alle"
    ),
    "Remove the keyframes of seeds, mixes and layers": "Die Keyframes von Startwerten, Mischungen und Ebenen entfernen",
    (
        "Render a sheet of small images, one for each seed, to choose from. Everything else stays the same. The sheet "
        "is also the image 'Lathe Variants'"
    ): (
        "Einen Bogen kleiner Bilder zur Auswahl rendern, eines je Startwert. Alles andere bleibt gleich. Der Bogen "
        "ist auch das Bild „Lathe Variants“"
    ),
    "Render again whenever the view or the sliders change: a draft while they move, then full quality": (
        "Bei jeder Änderung von Blick oder Reglern neu rendern: währenddessen als Entwurf, danach in voller Güte"
    ),
    "Render every frame again. If off, frames whose file exists are skipped, so that an interrupted path is resumed": (
        "Jedes Einzelbild neu rendern. Aus: vorhandene Dateien werden übersprungen, sodass eine unterbrochene "
        "Fahrt fortgesetzt wird"
    ),
    (
        "Render every image again. If off, existing images with the same camera, target and settings are skipped. "
        "Changes of lights and materials are not detected"
    ): (
        "Jedes Bild neu rendern. Aus: vorhandene Bilder mit gleicher Kamera, gleichem Ziel und gleichen "
        "Einstellungen werden übersprungen. Änderungen an Licht und Material werden nicht erkannt"
    ),
    "Render every image again. If off, existing images are kept, and a set with other settings is not touched. "
    "Changes of shapes, lights and materials are not detected": (
        "Jedes Bild neu rendern. Sonst bleiben vorhandene Bilder, und ein Satz mit anderen Einstellungen wird "
        "nicht angetastet. Änderungen von Formen, Lichtern und Materialien werden nicht erkannt"
    ),
    "Render many objects of one class from random viewpoints, to train a generator on. Esc stops it; pressed "
    "again, it goes on": (
        "Viele Objekte einer Klasse von zufälligen Blickpunkten rendern, um einen Generator damit zu trainieren. "
        "Esc hält an; nochmals gedrückt geht es weiter"
    ),
    "Render the scene from all sides as a data set. Esc cancels it; pressed again, it is resumed": (
        "Die Szene von allen Seiten als Datensatz rendern. Esc bricht ab; erneut gedrückt, wird fortgesetzt"
    ),
    "Render the scene's frame range into PNG files with alpha, through the active camera or the sliders": (
        "Den Bildbereich der Szene als PNG-Dateien mit Alpha rendern, durch die aktive Kamera oder die Regler"
    ),
    "Render the shape through sliders, camera or viewport into the image 'Lathe Preview'": (
        "Die Form durch Regler, Kamera oder Ansichtsfenster in das Bild „Lathe Preview“ rendern"
    ),
    (
        "Render this shape from all the views that the model was trained on, and fit a radiance field to the images "
        "with the options of the panel Fit. The field has a surface, as accurate as the images are consistent"
    ): (
        "Diese Form aus allen Blickrichtungen des Trainings rendern und mit den Optionen des Bereichs "
        "„Strahlungsfeld“ ein Feld an die Bilder anpassen. Das Feld hat eine Oberfläche, so genau, wie die Bilder "
        "zueinander passen"
    ),
    "Render with a transparent background, so that only the objects are fitted": (
        "Mit durchsichtigem Hintergrund rendern, sodass nur die Objekte angepasst werden"
    ),
    "Rendered latents are listed here": "Hier werden gerenderte Formen aufgeführt",
    "Renders of the Blender scene": "Bilder der Blender-Szene",
    "Replace the mesh of the object generated last; its transform stays": (
        "Das Netz des zuletzt erzeugten Objekts ersetzen; seine Lage bleibt"
    ),
    "Representation of the field": "Darstellung des Feldes",
    "Reset the crop box to the field's whole box": "Den Zuschnitt auf den ganzen Kasten des Feldes zurücksetzen",
    "Reset the view to the one that the model was trained on": (
        "Den Blick auf den aus dem Training des Modells zurücksetzen"
    ),
    "Restart the backend to use the device that you chose": (
        "Rechenprozess neu starten, um das gewählte Gerät zu nutzen"
    ),
    "Resume this training where it was paused or interrupted. If its hours are over, those above are added": (
        "Dieses Training dort fortsetzen, wo es angehalten oder unterbrochen wurde. Sind seine Stunden um, "
        "kommen die obigen hinzu"
    ),
    "Rotation of the camera about its line of sight": "Drehung der Kamera um ihre Blickrichtung",
    "Rows that are taken from stored codes": "Zeilen, die aus gespeicherten Formen stammen",
    "Seconds by which Continue extends a finished fit": (
        "Sekunden, um die „Fortsetzen“ eine fertige Anpassung verlängert"
    ),
    "Seed of the first object; the others follow": "Startwert des ersten Objekts; die übrigen folgen",
    "Seed of the first weights and of all random draws": "Startwert der ersten Gewichte und aller Zufallszahlen",
    "Seed of the rotation of the rig": "Startwert für die Drehung der Kameras",
    "Seed of the viewpoints and lights": "Startwert der Blickpunkte und Lichter",
    "Seed that differs from image to image; everything else stays the same": (
        "Startwert, der sich von Bild zu Bild ändert; alles andere bleibt gleich"
    ),
    "Seeds to visit, separated by commas": "Startwerte der Wanderung, durch Kommas getrennt",
    "Select a mesh object: its vertices are the scan": "Ein Netzobjekt auswählen: seine Punkte sind der Scan",
    "Select an object that was generated here": "Ein hier erzeugtes Objekt auswählen",
    "Select the objects to capture, or choose Target: Whole Scene": (
        "Die Objekte auswählen oder „Ziel: Ganze Szene“ wählen"
    ),
    "Selected row of the history": "Ausgewählte Zeile des Verlaufs",
    "Set Up is running: cancel it at the top if you want to start over": (
        "„Einrichten“ läuft: zum Neubeginn oben abbrechen"
    ),
    "Set up the backend first: press Set Up, or choose an existing Python": (
        "Zuerst einrichten: „Einrichten“ drücken oder ein vorhandenes Python wählen"
    ),
    "Settings of the active generated object, which replace its mesh": (
        "Einstellungen des aktiven erzeugten Objekts, die sein Netz ersetzen"
    ),
    "Settings of the scene, which generate new objects": "Einstellungen der Szene, die neue Objekte erzeugen",
    "Shade smoothly instead of flat: with the gradient of a signed distance, else with normals of the mesh": (
        "Glatt statt flach schattieren: mit dem Gradienten eines Abstandsfelds, sonst mit den Normalen des Netzes"
    ),
    "Sheet of latents to choose from": "Bogen von Formen zur Auswahl",
    (
        "Show both next to the preview: the 2.5D sketch that Visual Object Networks texture. They are also the images "
        "'Lathe Depth' and 'Lathe Silhouette'"
    ): (
        "Beides neben der Vorschau zeigen: die 2,5D-Skizze, die Visual Object Networks bemalen. Es sind auch die "
        "Bilder „Lathe Depth“ und „Lathe Silhouette“"
    ),
    "Show the end of the log in Blender's text editor, as the text 'Lathe Log'": (
        "Das Ende des Protokolls in Blenders Texteditor zeigen, als Text „Lathe Log“"
    ),
    "Show the model's card: data, recipe, licence and figures": (
        "Den Steckbrief des Modells zeigen: Daten, Training, Lizenz und Kennzahlen"
    ),
    "Simplify to about this many triangles; 0 keeps all": "Auf etwa so viele Dreiecke vereinfachen; 0 behält alle",
    "Size of the field, and duration of the fit unless seconds or steps are given": (
        "Größe des Feldes und Dauer der Anpassung, wenn weder Sekunden noch Schritte angegeben sind"
    ),
    "Size of the networks and schedule; empty is the model's first": (
        "Größe der Netze und Ablauf; leer ist die erste des Modells"
    ),
    "Source of the objects": "Herkunft der Objekte",
    "Stanford, Z up, with vertex colours": "Stanford, Z nach oben, mit Punktfarben",
    "Start the backend process": "Den Rechenprozess starten",
    "Step {step:.0f}, loss {loss:.4f}": "Schritt {step:.0f}, Verlust {loss:.4f}",
    "Stop the backend first: its files are in use": "Zuerst den Rechenprozess beenden: seine Dateien sind in Gebrauch",
    "Stop the backend process and free its memory. Running jobs are cancelled": (
        "Den Rechenprozess beenden und seinen Speicher freigeben. Laufende Aufträge werden abgebrochen"
    ),
    "Stop the backend process if it is running, and start it": "Den Rechenprozess beenden, falls er läuft, und starten",
    "Stop the fit and delete its state, so that it cannot be continued. A field that was already stored stays": (
        "Die Anpassung beenden und ihren Stand löschen, sodass sie nicht fortgesetzt werden kann. Ein schon "
        "gespeichertes Feld bleibt"
    ),
    "Stored code of the direction": "Gespeicherte Form der Richtung",
    "Stored code that the row is taken from": "Gespeicherte Form, aus der die Zeile stammt",
    "Stored latent in place of seed A, such as the code of a completed scan or of an image": (
        "Gespeicherte Form anstelle von Startwert A, etwa die eines ergänzten Scans oder eines Bildes"
    ),
    "Stored latent in place of seed B, to mix with": "Gespeicherte Form anstelle von Startwert B, zum Mischen",
    "Strength of the light from all sides": "Stärke des Lichts von allen Seiten",
    "Take all layers from seed A again": "Wieder alle Ebenen von Startwert A nehmen",
    (
        "Take this layer of the model from seed B, whatever the mixes are. Early layers control geometry, late ones "
        "appearance"
    ): (
        "Diese Ebene des Modells von Startwert B nehmen, unabhängig von den Mischungen. Frühe Ebenen bestimmen die "
        "Gestalt, späte das Aussehen"
    ),
    "The .blend file is not saved: {folder}": "Die .blend-Datei ist nicht gespeichert: {folder}",
    "The alpha itself is fitted": "Das Alpha selbst wird angepasst",
    "The backend has no model {model}: choose another or refresh the list": (
        "Der Rechenprozess hat kein Modell {model}: ein anderes wählen oder die Liste neu lesen"
    ),
    "The backend is not running": "Der Rechenprozess läuft nicht",
    "The backend is running already": "Der Rechenprozess läuft schon",
    "The far distance is contracted into the field, with a sky behind it": (
        "Die Ferne wird in das Feld gestaucht, dahinter liegt ein Himmel"
    ),
    "The format chosen in the tab": "Das im Reiter gewählte Format",
    "The frames are written to {folder}": "Die Einzelbilder werden nach {folder} geschrieben",
    "The full quality of the model": "Die volle Güte des Modells",
    "The graphics card if PyTorch can use it, otherwise the processor": (
        "Die Grafikkarte, falls PyTorch sie nutzen kann, sonst der Prozessor"
    ),
    "The images are not ready yet: wait for them": "Die Bilder sind noch nicht fertig: abwarten",
    "The images are written to {folder}": "Die Bilder werden nach {folder} geschrieben",
    "The lights and the world of the scene": "Die Lichter und die Welt der Szene",
    "The loss of the model's own paper": "Der Verlust aus dem Artikel zum Modell",
    "The network of the 2020 paper: slow, for comparison": (
        "Das Netzwerk der Veröffentlichung von 2020: langsam, zum Vergleich"
    ),
    "The objects of a collection, rendered by Blender": "Die Objekte einer Sammlung, von Blender gerendert",
    "The scene has no active camera: add one where the depth image was taken from": (
        "Die Szene hat keine aktive Kamera: eine dort hinzufügen, wo das Tiefenbild aufgenommen wurde"
    ),
    "The scene has no active camera: press Add Camera and animate it, or choose Through: Sliders": (
        "Die Szene hat keine aktive Kamera: „Kamera hinzufügen“ drücken und sie animieren oder „Durch: Regler“ wählen"
    ),
    "The scene has no active camera: press Add Camera, or choose Through: Sliders": (
        "Die Szene hat keine aktive Kamera: „Kamera hinzufügen“ drücken oder „Durch: Regler“ wählen"
    ),
    "The scene's active camera": "Die aktive Kamera der Szene",
    "The smallest download; works everywhere": "Der kleinste Download; läuft überall",
    "The walk takes frames {first} to {last}": "Die Wanderung reicht von Bild {first} bis {last}",
    "There are no keyframes of the seeds": "Die Startwerte haben keine Keyframes",
    "There is no fit to continue": "Es gibt keine Anpassung zum Fortsetzen",
    "There is no log yet: it is written when the backend starts": (
        "Noch kein Protokoll: es entsteht beim Start des Rechenprozesses"
    ),
    "There is no training to continue": "Es gibt kein Training zum Fortsetzen",
    "There is nothing to remove: favourites are kept": "Es gibt nichts zu entfernen: Favoriten bleiben",
    "This empty is the box of a radiance field": "Dieses Leerobjekt ist der Kasten eines Strahlungsfelds",
    "This field is already in the scene: duplicate its box for another copy": (
        "Dieses Feld ist schon in der Szene: für eine weitere Kopie den Kasten duplizieren"
    ),
    "This field is being fitted: pause the fit first, or wait for it": (
        "Dieses Feld wird gerade angepasst: zuerst anhalten oder abwarten"
    ),
    "This object was generated by a model": "Dieses Objekt hat ein Modell erzeugt",
    "This training has no model yet: wait for its first images": (
        "Dieses Training hat noch kein Modell: auf seine ersten Bilder warten"
    ),
    "Toggle whether this latent is a favourite. Favourites are never dropped from the history": (
        "Diese Form als Favoriten setzen oder nicht. Favoriten werden nie aus dem Verlauf entfernt"
    ),
    "Train a shape network on the active mesh. It becomes a new model": (
        "Ein Netzwerk auf die Form des aktiven Netzes trainieren. Es wird ein neues Modell"
    ),
    "Train the model on the images, from the start. The result is a model of its own, which generates shapes": (
        "Das Modell von vorn auf den Bildern trainieren. Das Ergebnis ist ein eigenes Modell, das Formen erzeugt"
    ),
    "Train this model, or with this preset": "Dieses Modell trainieren, oder mit dieser Voreinstellung",
    (
        "Transfer the texture of the object in an image to this shape. The image may have any size; its alpha, if it "
        "has one, masks the object"
    ): (
        "Die Textur des Objekts in einem Bild auf diese Form übertragen. Das Bild darf jede Größe haben; sein "
        "Alpha, falls vorhanden, maskiert das Objekt"
    ),
    (
        "Truncation ψ: lower values stay closer to the average shape, with fewer artefacts and less variety; 1 is the "
        "full range"
    ): (
        "Beschneidung ψ: kleinere Werte bleiben näher an der mittleren Form, mit weniger Fehlern und weniger "
        "Vielfalt; 1 ist der volle Bereich"
    ),
    "Universal Scene Description, Z up": "Universal Scene Description, Z nach oben",
    "Upper corner of the crop box, in the field's own coordinates": (
        "Obere Ecke des Zuschnitts, in Koordinaten des Feldes"
    ),
    "Upper corner of the field's own box": "Obere Ecke des Kastens des Feldes",
    "Use an existing Python that has the backend's packages instead of the one that Set Up installs": (
        "Ein vorhandenes Python mit den Paketen des Rechenprozesses statt des von „Einrichten“ installierten verwenden"
    ),
    "Use the seeds of this model's favourites for the walk": (
        "Die Startwerte der Favoriten dieses Modells für die Wanderung verwenden"
    ),
    "Use this latent with its seeds, mixes, layers and controls": (
        "Diese Form mit Startwerten, Mischungen, Ebenen und Reglern verwenden"
    ),
    "UV coordinates and an image baked from the field": "UV-Koordinaten und ein aus dem Feld gebackenes Bild",
    (
        "Value of the field at the surface: metres for a signed distance (higher is thicker), 1/metre for a density "
        "(higher is thinner); the model's own unless given"
    ): (
        "Wert des Feldes an der Oberfläche: Meter bei einem Abstandsfeld (höher ist dicker), 1/Meter bei einer "
        "Dichte (höher ist dünner); sonst der des Modells"
    ),
    "Variants are being rendered: wait for them or cancel them at the top": (
        "Varianten werden gerendert: abwarten oder oben abbrechen"
    ),
    "View to render. Latents and sliders follow their keyframes and drivers in both cases": (
        "Blick, der gerendert wird. Formen und Regler folgen in beiden Fällen ihren Keyframes und Treibern"
    ),
    (
        "Weight of the distortion loss (mip-NeRF 360, Eq. 15), which concentrates density along each ray and removes "
        "fog. 0.01 is a strong weight"
    ): (
        "Gewicht des Verzerrungsverlusts (mip-NeRF 360, Gl. 15), der die Dichte entlang jedes Strahls bündelt und "
        "Nebel entfernt. 0,01 ist ein großes Gewicht"
    ),
    "Weight of the loss on the depth images of the data set; 0 ignores them": (
        "Gewicht des Verlusts an den Tiefenbildern des Datensatzes; 0 lässt sie aus"
    ),
    "Weight of the opacity loss, which makes rays either fully transparent or fully opaque": (
        "Gewicht des Deckkraftverlusts, der Strahlen ganz durchsichtig oder ganz undurchsichtig macht"
    ),
    "Whether the scene extends beyond its bounds": "Ob die Szene über ihre Grenzen hinausreicht",
    "Write the selected generated objects to a file, with Blender's own exporters": (
        "Die ausgewählten erzeugten Objekte in eine Datei schreiben, mit Blenders eigenen Exporteuren"
    ),
    "Yaw, pitch, roll and field of view below, around the model wherever it is placed": (
        "Drehung, Neigung, Rollen und Bildwinkel unten, um das Modell, wo immer es steht"
    ),
    "Yaw, pitch, roll and field of view in the panel Preview": (
        "Drehung, Neigung, Rollen und Bildwinkel im Bereich „Vorschau“"
    ),
    "Yes for images without alpha that have no plain background": (
        "Ja bei Bildern ohne Alpha, die keinen einfarbigen Hintergrund haben"
    ),
    "{minutes}:{seconds:02d} left": "noch {minutes}:{seconds:02d}",
    "{model} cannot complete scans: choose a model that can": (
        "{model} kann keine Scans ergänzen: ein Modell wählen, das es kann"
    ),
    "{model} cannot take textures from images: choose a model that can": (
        "{model} kann keine Texturen von Bildern übernehmen: ein Modell wählen, das es kann"
    ),
    "{model} cannot turn images into shapes: choose a model that can": (
        "{model} kann aus Bildern keine Formen machen: ein Modell wählen, das es kann"
    ),
    "{posed} of {images} images placed, {points} points, error {error:.2f} pixels": (
        "{posed} von {images} Bildern platziert, {points} Punkte, Fehler {error:.2f} Pixel"
    ),
    "{psnr:.1f} dB on test images": "{psnr:.1f} dB auf Testbildern",
    "{psnr:.1f} dB on training images": "{psnr:.1f} dB auf Trainingsbildern",
    "{rays:.0f} thousand rays/s": "{rays:.0f} Tausend Strahlen/s",
    "{used:.1f} of {total:.0f} GB": "{used:.1f} von {total:.0f} GB",
    "Optimisation steps of the latent. More are slower and closer to the photograph": "Optimierungsschritte der Form. "
    "Mehr sind langsamer und kommen dem Foto näher",
    "Steps that adapt the model's weights to the photograph and store them as a model of their own; 0 keeps the "
    "model as it is": "Schritte, die die Gewichte des Modells an das Foto anpassen und als eigenes Modell ablegen; 0 "
    "lässt das Modell, wie es ist",
    "Learning rate of the weights. Higher is faster and less local": "Lernrate der Gewichte. Höher ist schneller und "
    "weniger örtlich",
    "Hold the images of other latents while the weights are tuned": "Bilder anderer Formen festhalten, während die "
    "Gewichte angepasst werden",
    "Find the photograph's camera, starting from the given view": "Kamera des Fotos bestimmen, vom eingestellten Blick"
    " aus",
    "Seeds whose images are compared with the photograph to start from": "Startwerte, deren Bilder mit dem Foto "
    "verglichen werden, um davon auszugehen",
    "Random seed of the noise on the latent": "Startwert des Rauschens auf der Form",
    "Name of the tuned model: letters, digits, '.', '-' and '_'. Empty uses the names of the model and the "
    "photograph": "Name des angepassten Modells: Buchstaben, Ziffern, „.“, „-“ und „_“. Leer nimmt die Namen des "
    "Modells und des Fotos",
    "{model} has no latents or no colours: choose a generator": "{model} hat keine Formen zur Auswahl oder keine "
    "Farben: einen Generator wählen",
    "A photo is being fitted: wait for it or cancel it": "Ein Foto wird gerade angepasst: warten oder abbrechen",
    "Choose a photo": "Ein Foto wählen",
    "The image {name} has no pixels: load it again": "Das Bild {name} hat keine Pixel: neu laden",
    "Photo and mask must have the same size": "Foto und Maske müssen gleich groß sein",
    "{psnr:.1f} dB from the photo": "{psnr:.1f} dB vom Foto",
    "Find the latent that makes the photo, starting from the view of the sliders. It becomes this shape's latent,"
    " to be mixed, keyframed and meshed as any other": "Die Form finden, die das Foto ergibt, vom Blick der Regler "
    "aus. Sie wird zu dieser Form und lässt sich mischen, animieren und vernetzen wie jede andere",
    "Cancel the fit to the photo. Nothing is changed": "Die Anpassung an das Foto abbrechen. Nichts wird verändert",
    "No photo is being fitted": "Es wird kein Foto angepasst",
}
"""Tooltips, notes, and reasons why an operator is disabled."""

GERMAN = {
    **{("Operator", english): german for english, german in OPERATORS.items()},
    **{("*", english): german for english, german in (LABELS | SENTENCES).items()},
}
TABLE = {"de": GERMAN, "de_DE": GERMAN}
"""By language: (context, English) -> translation, as bpy.app.translations takes it."""


def translated(text: str, **values: Any) -> str:
    """Return a text in the language of the interface, with values in place of its {fields}."""
    return str(bpy.app.translations.pgettext_rpt(text)).format(**values)
